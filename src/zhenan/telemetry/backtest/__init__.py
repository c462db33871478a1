"""Rules over history before they go live: how many alarms they would have given, and how two versions differ.

`plan` cuts the points into tasks, `pool` runs them (processes, or Ray), `found` holds what they find, `compare` sets
two versions side by side. No Django; the history is any Delta table of readings.
"""
