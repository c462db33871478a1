"""Who would have been told, and when: maintenance windows and gateways that were gone, by hand."""

import numpy as np
import pytest

from zhenan.telemetry.backtest.found import OPEN
from zhenan.telemetry.backtest.holding import AT_ONCE, MAINTENANCE, PARENT, Gone, Quiet, Span

# Device 1: maintenance 100-200 and 200-300, again 250-260. Device 2: its gateway is gone 100-500, last heard of at 40,
# and 800-900, last heard of at 790. Device 3: its gateway's alarm of 100 does not tell when it was last heard of.
QUIET = Quiet(
    windows={1: (Span(100, 200), Span(200, 300), Span(250, 260))},
    gone={2: (Gone(100, 500, 40), Gone(800, 900, 790)), 3: (Gone(100, OPEN, OPEN),)}, wait_ms=50, alive_ms=10,
)  # fmt: skip


def told(device, raised, cleared, *, silence=True, quiet=QUIET, until=10_000):
    columns = (np.array([n], np.int64) for n in (device, raised, cleared))
    at, why = quiet.told(*columns, np.array([silence]), until)
    return (None if at[0] == OPEN else int(at[0])), int(why[0])


@pytest.mark.parametrize(
    ("device", "raised", "cleared", "when", "why"),
    [
        (1, 99, 400, 99, AT_ONCE),  # before the window: told, and stays so
        (1, 100, 199, None, MAINTENANCE),
        (1, 100, 300, None, MAINTENANCE),  # over at the very end of the second window
        (1, 100, 301, 300, MAINTENANCE),  # one window after the other, then it still stands
        (1, 255, OPEN, 300, MAINTENANCE),
        (1, 300, 400, 300, AT_ONCE),  # the end is excluded
        (2, 100, 550, None, PARENT),  # back within 50 of the gateway's return
        (2, 100, 551, 550, PARENT),
        (2, 60, 70, None, PARENT),  # it waited for word of the gateway, and was over before that came
        (2, 60, 700, 550, PARENT),
        (2, 49, 700, 49, AT_ONCE),  # word of the gateway would have come too late: at 100, the wait is 50
        (2, 799, 2000, 799, AT_ONCE),  # the gateway was heard of 9 before: alive
        (2, 800, 1000, 950, PARENT),
        (2, 500, 600, 500, AT_ONCE),  # the gateway is back
        (3, 99, 2000, 99, AT_ONCE),  # not known whether the gateway was alive: told
        (3, 100, OPEN, None, PARENT),  # gone to this day
        (4, 100, 200, 100, AT_ONCE),
    ],
)
def test_a_raise_is_told_of_at_once_later_or_never(device, raised, cleared, when, why):
    assert told(device, raised, cleared) == (when, why)


def test_only_silences_are_taken_by_a_gateway_and_what_is_told_after_the_period_is_not_told_in_it():
    assert told(2, 100, 400, silence=False) == (100, AT_ONCE)
    assert told(1, 100, OPEN, until=300) == (None, MAINTENANCE)
    assert told(1, 100, OPEN, until=301) == (300, MAINTENANCE)


def test_maintenance_during_the_wait_for_a_gateway_holds_on():
    both = Quiet(windows={2: (Span(540, 600),)}, gone=QUIET.gone, wait_ms=50, alive_ms=10)
    assert told(2, 100, 599, quiet=both) == (None, MAINTENANCE)
    assert told(2, 100, 601, quiet=both) == (600, MAINTENANCE)
