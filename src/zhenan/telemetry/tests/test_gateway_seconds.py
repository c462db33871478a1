"""Two words of one device within one second are both judged, in their order."""

import numpy as np

from zhenan.telemetry.gateway.seconds import Seconds
from zhenan.telemetry.judge.engine import Judge
from zhenan.telemetry.judge.results import Columns
from zhenan.telemetry.judge.rulefile import rules_from


def times(seconds, *words):
    """When each reading (ts, or ts and point) is taken to be, given one after the other."""
    found = []
    for word in words:
        ts, point = word if isinstance(word, tuple) else (word, 7)
        moment = np.array([ts])
        seconds.spread(np.array([point], np.int32), moment)
        found += moment.tolist()
    return found


def test_words_of_one_second_follow_each_other_by_milliseconds():
    assert times(Seconds(), 5000, 5000, 5000, 6000) == [5000, 5001, 5002, 6000]
    together = np.array([5000, 5000, 5000, 6000])
    Seconds().spread(np.full(4, 7, np.int32), together)
    assert together.tolist() == [5000, 5001, 5002, 6000]


def test_points_have_clocks_of_their_own_however_many_there_are():
    assert times(Seconds(), 5000, (5000, 8), (5000, 500_000), 5000) == [5000, 5000, 5000, 5001]


def test_what_is_late_by_a_second_stays_late():
    assert times(Seconds(), 9000, 5000, 5000, 9000) == [9000, 5000, 5000, 9001]


def test_a_second_does_not_run_over_into_the_next():
    seconds = Seconds()
    assert times(seconds, *[5000] * 1200)[-1] == 5000  # beyond a thousand: an honest duplicate
    assert times(seconds, 6000) == [6000]


def test_normal_and_fire_within_one_second_raise_the_alarm():
    ts = np.array([5000, 5000])
    Seconds().spread(np.zeros(2, np.int32), ts)
    judge = Judge(rules_from({"rules": [{"id": "fire", "kind": "state", "in": [3], "level": 1}]}), ["p"])
    found = judge.judge(Columns(np.zeros(2, np.int32), ts, np.array([1.0, 3.0]), np.zeros(2, np.uint8)))
    assert len(found.transitions) == 1
