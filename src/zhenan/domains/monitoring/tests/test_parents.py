"""A device that is gone takes the silences of those behind it into its own alarm; back again, they are on their own."""

from datetime import timedelta

import pytest
from django.urls import reverse

from zhenan.domains.monitoring import episodes, recording
from zhenan.domains.monitoring.devices import register_device
from zhenan.domains.monitoring.limits import PARENT_WAIT
from zhenan.domains.monitoring.models import Alarm, Device, HeldAlarm
from zhenan.domains.monitoring.queries import rule_of
from zhenan.domains.monitoring.services import record_transitions, release_held
from zhenan.domains.monitoring.tests.conftest import NOON, ONSET
from zhenan.kernel.notices.models import Notice
from zhenan.telemetry.judge.results import Transition

OFFLINE = "catering_gas.detector_offline"


@pytest.fixture
def gateway(caterer):
    return register_device(
        subject=caterer, model="catering_gas.gas_detector", key="GW", name="传输装置", by=None, at=NOON
    )


@pytest.fixture
def children(caterer, gateway):
    return [
        register_device(
            subject=caterer, model="catering_gas.gas_detector", key=f"T{n}", name=f"终端{n}", by=None, at=NOON,
            parent=gateway,
        )
        for n in range(3)
    ]  # fmt: skip


def word(device, kind="raise", *, onset_s=0, after_s=0, rule=OFFLINE):
    """The judge's word of the device's gas point: silent since NOON + onset_s."""
    point = device.points.get(measure="gas_lel")
    onset = ONSET + onset_s * 1000
    return Transition(str(point.pk), rule, kind, onset + after_s * 1000, onset, float("nan"), 4)


def seen(device, at):
    Device.objects.filter(pk=device.pk).update(last_seen_at=at)


def names(rows):
    return sorted(row.device.name for row in rows.select_related("device"))


def test_children_silent_before_with_and_after_their_parent_are_one_alarm_with_a_list(gateway, children):
    seen(gateway, NOON - timedelta(minutes=30))
    record_transitions([word(children[0], onset_s=-60)], at=NOON - timedelta(seconds=60))
    record_transitions([word(children[1]), word(gateway)], at=NOON)
    record_transitions([word(children[2], onset_s=30)], at=NOON + timedelta(seconds=30))
    alarm = Alarm.objects.get()
    assert alarm.device == gateway
    assert names(alarm.folded) == ["终端0", "终端1", "终端2"]
    assert set(Notice.objects.values_list("target", flat=True)) == {f"monitoring.alarm:{alarm.pk}"}
    release_held(at=NOON + timedelta(days=2))
    assert Alarm.objects.count() == 1  # as long as the parent is gone


def test_a_child_and_its_parent_recorded_by_two_judges_at_one_moment_are_one_alarm_all_the_same(
    gateway, children, monkeypatch
):
    """Each has looked before the other has written, so neither sees what it would be folded with."""
    seen(gateway, NOON - timedelta(minutes=30))

    class Racing(recording.Episodes):
        def walk(self, transitions):
            monkeypatch.setattr(recording, "Episodes", recording.Episodes.__base__)
            record_transitions([word(gateway)], at=NOON)
            super().walk(transitions)

    monkeypatch.setattr(recording, "Episodes", Racing)
    record_transitions([word(children[0])], at=NOON)
    alarm = Alarm.objects.get()
    assert (alarm.device, names(alarm.folded)) == (gateway, [])
    assert release_held(at=NOON + timedelta(seconds=15)).raised == []
    assert names(alarm.folded) == ["终端0"]
    assert release_held(at=NOON + PARENT_WAIT).raised == []
    record_transitions([word(gateway, "clear", after_s=3600)], at=NOON + timedelta(hours=1))
    assert len(release_held(at=NOON + timedelta(hours=1) + PARENT_WAIT).raised) == 1  # it did not come back


def test_when_the_parent_is_back_those_still_silent_raise_on_their_own(gateway, children):
    seen(gateway, NOON - timedelta(minutes=30))
    record_transitions([word(gateway), *(word(child) for child in children)], at=NOON)
    back = NOON + timedelta(hours=1)
    record_transitions([word(gateway, "clear", after_s=3600), word(children[0], "clear", after_s=3630)], at=back)
    assert release_held(at=back + PARENT_WAIT - timedelta(seconds=1)).raised == []
    assert len(release_held(at=back + PARENT_WAIT).raised) == 2
    own = Alarm.objects.exclude(device=gateway)
    assert names(own) == ["终端1", "终端2"]
    assert {(alarm.onset, alarm.raised_at) for alarm in own} == {(NOON, back + PARENT_WAIT)}
    assert release_held(at=back + timedelta(days=1)).raised == []


def test_a_child_of_a_living_parent_is_told_at_once(gateway, children):
    seen(gateway, NOON - timedelta(seconds=90))
    record_transitions([word(children[0])], at=NOON)
    assert names(Alarm.objects.all()) == ["终端0"]


def test_a_child_that_waited_in_vain_for_word_of_its_parent_raises_on_its_own(gateway, children):
    seen(gateway, NOON - timedelta(minutes=30))
    record_transitions([word(children[0])], at=NOON)
    assert Alarm.objects.count() == 0
    seen(gateway, NOON + timedelta(minutes=1))
    release_held(at=NOON + PARENT_WAIT)
    alarm = Alarm.objects.get()
    assert (alarm.device, alarm.raised_at) == (children[0], NOON + PARENT_WAIT)


def test_other_alarms_of_a_child_are_never_held(gateway, children):
    seen(gateway, NOON - timedelta(hours=3))
    record_transitions([word(gateway), word(children[0], rule="catering_gas.gas_alarm")], at=NOON)
    assert Alarm.objects.filter(device=children[0]).count() == 1


def test_a_rule_may_declare_that_it_covers_the_children(gateway, children, monkeypatch):
    def patched(code):
        rule = rule_of(code)
        fault = code == "catering_gas.detector_fault"  # stands for "main power lost"
        return rule.model_copy(update={"covers_children": True}) if fault else rule

    monkeypatch.setattr(episodes, "rule_of", patched)
    seen(gateway, NOON)
    record_transitions([word(gateway, rule="catering_gas.detector_fault")], at=NOON)
    record_transitions([word(child, onset_s=60) for child in children], at=NOON + timedelta(seconds=60))
    assert Alarm.objects.get().folded.count() == 3


def test_a_replay_of_the_whole_story_changes_nothing(gateway, children):
    seen(gateway, NOON - timedelta(minutes=30))
    words = [*(word(child) for child in children), word(gateway), word(gateway, "clear", after_s=600)]
    record_transitions(words, at=NOON)
    release_held(at=NOON + timedelta(hours=2))
    before = [*Alarm.objects.order_by("pk").values_list(), *HeldAlarm.objects.order_by("pk").values_list()]
    record_transitions(words, at=NOON + timedelta(hours=3))
    assert [*Alarm.objects.order_by("pk").values_list(), *HeldAlarm.objects.order_by("pk").values_list()] == before


def test_under_maintenance_and_behind_a_gone_parent_both_must_end(gateway, children, personas):
    from zhenan.domains.monitoring.maintenance import open_maintenance

    seen(gateway, NOON - timedelta(minutes=30))
    open_maintenance(
        device=children[0], reason="x", starts_at=NOON, ends_at=NOON + timedelta(hours=1), by=personas["city_officer"],
        at=NOON,
    )  # fmt: skip
    record_transitions([word(children[0]), word(gateway)], at=NOON)
    release_held(at=NOON + timedelta(hours=1))
    held = HeldAlarm.objects.get()
    assert (held.why, held.under.device, held.released_at) == ("parent", gateway, None)


def test_the_parents_alarm_shows_the_count_and_the_list(client, gateway, children, personas):
    seen(gateway, NOON - timedelta(minutes=30))
    record_transitions([word(gateway), *(word(child) for child in children)], at=NOON)
    client.force_login(personas["city_officer"], backend="django.contrib.auth.backends.ModelBackend")
    page = client.get(reverse("monitoring:alarm", args=[Alarm.objects.get().pk])).content.decode()
    assert "其下3台设备随之离线" in page
    assert all(child.name in page for child in children)
