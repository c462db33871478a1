"""From bytes on a wire to judged readings: codecs, gateway, log, judge, tracks, history. No Django, usable alone."""
