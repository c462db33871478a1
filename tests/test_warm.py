"""A web process goes through what is slow the first time before anybody asks for it; what fails there stops nothing."""

from structlog.testing import capture_logs

from zhenan.kernel import slots
from zhenan.kernel.slots import Slot, Warmer
from zhenan.server.warm import warm_in_background


def test_every_warmer_is_run_in_turn_though_one_fails(monkeypatch):
    slot: Slot[Warmer] = Slot("warmers")
    ran = []
    slot.register(Warmer("second", lambda: ran.append("second"), order=20))
    slot.register(Warmer("broken", lambda: 1 // 0, order=15))
    slot.register(Warmer("first", lambda: ran.append("first"), order=10))
    monkeypatch.setattr(slots, "warmers", slot)
    with capture_logs() as logs:
        warm_in_background().join(10)
    assert ran == ["first", "second"]
    assert [(log["event"], log["what"]) for log in logs] == [
        ("warm.done", "first"), ("warm.failed", "broken"), ("warm.done", "second"),
    ]  # fmt: skip


def test_the_rooms_have_something_to_warm_up():
    assert "tracks" in slots.warmers.items
