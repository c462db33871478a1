"""What `zhenan doctor` says of a cluster."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from zhenan.server import doctor, health_cluster
from zhenan.server.processes import judge
from zhenan.telemetry.judge.results import Counters
from zhenan.telemetry.lease import Book

BOOK = Book(
    4, token=9, members={"a-1": "judge-a", "b-2": "judge-b"}, lanes={0: ("a-1", 3), 1: ("a-1", 4), 2: ("b-2", 9)}
)


def consumer(name: str, pending: int) -> SimpleNamespace:
    return SimpleNamespace(name=name, num_pending=pending, num_ack_pending=0)


def peer(name: str, *, current: bool = True, offline: bool = False) -> SimpleNamespace:
    return SimpleNamespace(name=name, current=current, offline=offline)


@pytest.mark.parametrize(
    ("numbers", "words"), [([], "–"), ([3], "3"), ([0, 1, 2, 9], "0-2, 9"), ([5, 4, 1], "1, 4-5"), (range(64), "0-63")]
)
def test_lanes_are_told_in_short(numbers, words):
    assert health_cluster.spans(numbers) == words


def test_what_a_former_holder_left_behind_is_not_anyones_lag():
    waiting, rest = health_cluster.by_lane(
        [consumer("judge-0-3", 5), consumer("judge-2-7", 900), consumer("judge-2-9", 1), consumer("historian", 4)],
        {"judge": BOOK},
    )
    assert waiting == {"judge": {0: 5, 2: 1}}
    assert [one.name for one in rest] == ["historian"]


def test_a_lane_that_nobody_holds_is_not_well():
    ok, words, data = health_cluster.sharing("judge", BOOK, {0: 5, 2: 1})
    assert not ok
    assert words == "judge-a: 0-1 (5 messages behind); judge-b: 2 (1 messages behind); held by nobody: 3"
    assert data == {"holders": {"judge-a": [0, 1], "judge-b": [2]}, "free": [3], "waiting": 6}


def test_too_far_behind_is_not_well(monkeypatch):
    monkeypatch.setenv("ZHENAN_LAG_LIMIT", "10")
    whole = Book(1, members={"a-1": "a"}, lanes={0: ("a-1", 1)})
    assert health_cluster.sharing("judge", whole, {0: 10})[0]
    assert not health_cluster.sharing("judge", whole, {0: 11})[0]


@pytest.mark.parametrize(
    ("cluster", "ok", "words"),
    [
        (None, True, ""),
        (
            SimpleNamespace(name="c", leader="n0", replicas=[peer("n2"), peer("n1")]),
            True,
            ", led by n0, copies at n1, n2",
        ),
        (
            SimpleNamespace(name="c", leader="n0", replicas=[peer("n1", offline=True), peer("n2", current=False)]),
            False,
            ", led by n0, copies at n1, n2; not up to date: n1, n2",
        ),
        (SimpleNamespace(name="c", leader=None, replicas=[peer("n1")]), False, ", led by nobody, copies at n1"),
    ],
)
def test_copies_and_leaders_are_told(cluster, ok, words):
    assert health_cluster.copies(SimpleNamespace(cluster=cluster))[:2] == (ok, words)


def test_a_reader_that_the_log_did_not_reach_back_for_is_not_well(tmp_path, monkeypatch):
    monkeypatch.setenv("ZHENAN_DATA", str(tmp_path))
    assert doctor.gaps().ok is None
    (tmp_path / "run").mkdir()
    for name, text in (("judge", '{"gaps": 0}'), ("historian", '{"gaps": 0}'), ("gateway", "{}"), ("tracks", "{")):
        (tmp_path / "run" / f"{name}.health.json").write_text(text)
    assert (doctor.gaps().ok, doctor.gaps().detail) == (True, "by historian, judge")
    (tmp_path / "run" / "judge.health.json").write_text('{"gaps": 3}')
    found = doctor.gaps()
    assert (found.ok, found.data) == (False, {"judge": 3, "historian": 0})
    assert found.detail.startswith("judge missed 3 messages or more: they were older than the log reaches back")


def test_what_a_lane_missed_is_told_after_the_lane_was_given_back():
    live = SimpleNamespace(counters=Counters(), engine=SimpleNamespace(rules=(), keys=[]), place=SimpleNamespace(seq=4))
    follower = SimpleNamespace(waiting=0, gaps=2)
    judging = SimpleNamespace(live=live, follower=follower, unrecorded=0, behind_ms=0)
    lanes = judge.Lanes(SimpleNamespace(), SimpleNamespace(jetstream=lambda **_: None), SimpleNamespace(), None)
    lanes.judging[3] = judging
    assert lanes.figures()["gaps"] == 2
    lanes.let_go(3, judging)
    assert lanes.figures()["gaps"] == 2
