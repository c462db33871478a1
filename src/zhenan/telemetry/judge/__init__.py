"""The judge of readings: alarm rules in, columns of readings in, raises and clears out. Pure, compiled."""
