"""Two words of one device within one second are both judged, in their order."""

import numpy as np

from zhenan.telemetry.codecs.base import Reading
from zhenan.telemetry.gateway.seconds import Seconds
from zhenan.telemetry.judge.engine import Judge
from zhenan.telemetry.judge.results import Columns
from zhenan.telemetry.judge.rulefile import rules_from


def word(ts, value=0.0, channel="status", device="d"):
    return Reading(device, channel, ts, value, 0)


def times(seconds, *words):
    return [r.ts_ms for w in words for r in seconds.spread([w])]


def test_words_of_one_second_follow_each_other_by_milliseconds():
    assert times(Seconds(), word(5000), word(5000), word(5000), word(6000)) == [5000, 5001, 5002, 6000]


def test_channels_and_devices_have_clocks_of_their_own():
    assert times(Seconds(), word(5000), word(5000, channel="a"), word(5000, device="e")) == [5000, 5000, 5000]


def test_what_is_late_by_a_second_stays_late():
    assert times(Seconds(), word(9000), word(5000), word(5000), word(9000)) == [9000, 5000, 5000, 9001]


def test_a_second_does_not_run_over_into_the_next():
    seconds = Seconds()
    assert times(seconds, *(word(5000) for _ in range(1200)))[-1] == 5000  # beyond a thousand: an honest duplicate
    assert times(seconds, word(6000)) == [6000]


def test_normal_and_fire_within_one_second_raise_the_alarm():
    seconds = Seconds()
    words = [r for w in (word(5000, 1.0), word(5000, 3.0)) for r in seconds.spread([w])]
    judge = Judge(rules_from({"rules": [{"id": "fire", "kind": "state", "in": [3], "level": 1}]}), ["p"])
    n = len(words)
    found = judge.judge(
        Columns(
            np.zeros(n, np.int32),
            np.array([w.ts_ms for w in words]),
            np.array([w.value for w in words]),
            np.zeros(n, np.uint8),
        )
    )
    assert len(found.transitions) == 1
