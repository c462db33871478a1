"""The times and numbers by which alarms are held and folded, in one place. None is in a law: the city's own."""

from datetime import timedelta

# A storm: a person who was told of so many alarms, each at least as grave, within the span is told of further ones by
# one summary a minute.
TOLD_SINGLY = 10
STORM_SPAN = timedelta(minutes=1)

# A terminal falls silent behind another device. Heard of so recently, that one is alive and the terminal's silence is
# its own; else the terminal waits so long for what the judge says of the other, and as long again when it is back.
PARENT_ALIVE = timedelta(minutes=2)
PARENT_WAIT = timedelta(minutes=15)

LONGEST_MAINTENANCE = timedelta(days=30)
