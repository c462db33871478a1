"""Rules and fences over history before they go live: how many alarms they would have given, and how versions differ.

`plan` cuts the points into tasks, `alarms` makes composites and staged alarms of what the judge says, `fences` does
the same over positions, `pool` runs the tasks (processes, or Ray), `found` holds what they find, `compare` sets two
versions side by side. No Django; the history is any Delta table of readings, or of positions.
"""
