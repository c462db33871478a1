"""While maintenance lasts nobody is told; what still stands at the end is raised then; nothing is lost."""

from datetime import timedelta

import pytest
from django.urls import reverse

from zhenan.domains.monitoring import maintenance
from zhenan.domains.monitoring.errors import AlreadyOver, BadPeriod, ReasonMissing
from zhenan.domains.monitoring.lists import MaintenanceList
from zhenan.domains.monitoring.models import Alarm, HeldAlarm, Maintenance
from zhenan.domains.monitoring.services import record_transitions, release_held
from zhenan.domains.monitoring.tests.conftest import NOON, ONSET
from zhenan.kernel.access.guards import NotAllowed
from zhenan.kernel.events.models import Event
from zhenan.kernel.lists.contract import check_list_page
from zhenan.kernel.notices.models import Notice
from zhenan.kernel.workflow.models import Deadline

HOUR = timedelta(hours=1)


@pytest.fixture
def silenced(detector, personas):
    """The detector under maintenance from noon for two hours."""
    return maintenance.open_maintenance(
        device=detector, reason="换探头", starts_at=NOON, ends_at=NOON + 2 * HOUR, by=personas["town_officer_here"],
        at=NOON,
    )  # fmt: skip


def told():
    return Notice.objects.filter(kind="alarm.raised").count(), Deadline.objects.count()


def test_what_is_raised_meanwhile_is_no_alarm_no_notice_no_deadline(silenced, transition):
    done = record_transitions([transition(after_s=60)], at=NOON + timedelta(seconds=61))
    assert (done.raised, len(done.held)) == ([], 1)
    assert (Alarm.objects.count(), told()) == (0, (0, 0))
    assert HeldAlarm.objects.get().maintenance == silenced


def test_what_still_stands_at_the_end_is_raised_at_the_end(silenced, transition):
    record_transitions([transition(after_s=60)], at=NOON + timedelta(minutes=2))
    assert release_held(at=NOON + 2 * HOUR - timedelta(seconds=1)).raised == []
    (raised,) = release_held(at=NOON + 2 * HOUR).raised
    alarm = Alarm.objects.get(pk=raised)
    assert (alarm.onset, alarm.raised_at, alarm.level) == (NOON, NOON + 2 * HOUR, 2)
    assert alarm.respond_by == NOON + 2 * HOUR + timedelta(seconds=180)
    assert told() == (5, 1)
    assert release_held(at=NOON + 3 * HOUR).raised == []  # once


def test_what_came_and_went_meanwhile_is_kept_on_the_window_alone(silenced, transition):
    words = [transition(), transition("clear", after_s=600, value=1.0)]
    record_transitions(words, at=NOON + timedelta(minutes=11))
    release_held(at=NOON + 3 * HOUR)
    assert Alarm.objects.count() == 0
    assert HeldAlarm.objects.get().cleared_at == NOON + timedelta(minutes=10)


def test_an_alarm_that_stood_at_the_end_and_cleared_before_anyone_looked_is_still_raised(silenced, transition):
    words = [transition(), transition("clear", after_s=7260, value=1.0)]  # a minute after the end
    record_transitions(words, at=NOON + 3 * HOUR)
    alarm = Alarm.objects.get()
    assert (alarm.raised_at, alarm.cleared_at) == (NOON + 2 * HOUR, NOON + timedelta(seconds=7260))


def test_a_replay_at_any_time_gives_the_same(silenced, transition):
    words = [transition()]
    for at in (NOON, NOON + HOUR, NOON + 2 * HOUR, NOON + 3 * HOUR):
        record_transitions(words, at=at)
    assert (Alarm.objects.count(), HeldAlarm.objects.count(), told()) == (1, 1, (5, 1))


def test_before_and_after_the_window_people_are_told_at_once(silenced, transition):
    early, late = ONSET - 1000, ONSET + 7_200_000
    told = [transition(onset=early), transition("clear", onset=early), transition(onset=late)]
    done = record_transitions(told, at=NOON + 2 * HOUR)
    assert len(done.raised) == 2  # the window includes its beginning and excludes its end


def test_an_alarm_from_before_keeps_its_deadline(transition, detector, personas):
    record_transitions([transition()], at=NOON)
    maintenance.open_maintenance(
        device=detector, reason="维修", starts_at=NOON, ends_at=NOON + HOUR, by=personas["town_officer_here"], at=NOON,
    )  # fmt: skip
    assert Deadline.objects.open().count() == 1


@pytest.mark.parametrize("what", ["device", "subject", "programme"])
def test_a_device_a_site_or_a_programme_may_be_silenced(what, detector, caterer, transition, personas):
    scope = {
        "device": {"device": detector},
        "subject": {"subject": caterer},
        "programme": {"programme": "catering_gas"},
    }
    by = personas["city_officer"]
    maintenance.open_maintenance(**scope[what], reason="x", starts_at=NOON, ends_at=NOON + HOUR, by=by, at=NOON)
    assert len(record_transitions([transition()], at=NOON).held) == 1


def test_another_programme_is_not_silenced(transition, personas):
    by = personas["city_officer"]
    maintenance.open_maintenance(
        programme="smart_fire", reason="x", starts_at=NOON, ends_at=NOON + HOUR, by=by, at=NOON
    )
    assert len(record_transitions([transition()], at=NOON).raised) == 1


def test_two_windows_hold_until_the_later_one_ends(silenced, caterer, transition, personas):
    maintenance.open_maintenance(
        subject=caterer, reason="停气", starts_at=NOON + HOUR, ends_at=NOON + 3 * HOUR, by=personas["city_officer"],
        at=NOON,
    )  # fmt: skip
    record_transitions([transition()], at=NOON)
    assert release_held(at=NOON + 2 * HOUR).raised == []
    assert len(release_held(at=NOON + 3 * HOUR).raised) == 1


def test_ended_early_what_stands_is_raised_at_once(silenced, transition, personas):
    record_transitions([transition()], at=NOON)
    maintenance.end_maintenance(silenced.pk, by=personas["town_officer_here"], at=NOON + HOUR)
    assert Alarm.objects.get().raised_at == NOON + HOUR
    with pytest.raises(AlreadyOver):
        maintenance.end_maintenance(silenced.pk, by=personas["town_officer_here"], at=NOON + HOUR)
    kinds = set(Event.objects.filter(kind__startswith="maintenance").values_list("kind", flat=True))
    assert kinds == {"maintenance.opened", "maintenance.ended"}


def test_who_may_not(detector, caterer, personas):
    period = {"reason": "x", "starts_at": NOON, "ends_at": NOON + HOUR, "at": NOON}
    for name, scope in (
        ("enterprise_safety_here", {"device": detector}),  # nobody silences their own alarms
        ("town_officer_elsewhere", {"subject": caterer}),
        ("town_officer_here", {"programme": "catering_gas"}),  # a programme: the whole city's office alone
        ("city_officer", {"programme": ""}),
    ):
        with pytest.raises(NotAllowed):
            maintenance.open_maintenance(**scope, by=personas[name], **period)


def test_without_a_reason_or_a_possible_period_there_is_none(detector, personas):
    by = personas["town_officer_here"]
    with pytest.raises(ReasonMissing):
        maintenance.open_maintenance(device=detector, reason=" ", starts_at=NOON, ends_at=NOON + HOUR, by=by, at=NOON)
    for starts, ends in ((NOON, NOON), (NOON + HOUR, NOON), (NOON - 2 * HOUR, NOON - HOUR), (NOON, NOON + 800 * HOUR)):
        with pytest.raises(BadPeriod, match="30"):
            maintenance.open_maintenance(device=detector, reason="x", starts_at=starts, ends_at=ends, by=by, at=NOON)
    assert Maintenance.objects.count() == 0


@pytest.fixture
def officer(client, personas):
    client.force_login(personas["town_officer_here"], backend="django.contrib.auth.backends.ModelBackend")
    return client


def test_from_the_device_page_to_an_early_end(officer, detector):
    page = officer.get(reverse("monitoring:device", args=[detector.pk])).content.decode()
    assert f"{reverse('monitoring:silence')}?device=GD0001" in page
    form = officer.get(reverse("monitoring:silence"), {"device": "GD0001"}).context["form"]
    data = {name: form[name].value() or "" for name in form.fields} | {"reason": "换探头"}
    answer = officer.post(reverse("monitoring:silence"), data, follow=True)
    window = Maintenance.objects.get()
    assert (window.device, answer.context["window"]) == (detector, window)
    assert "换探头" in officer.get(reverse("monitoring:device", args=[detector.pk])).content.decode()
    officer.post(reverse("monitoring:end_maintenance", args=[window.pk]))
    assert Maintenance.objects.get().ended_by.username == "town_officer_here"


def test_the_form_says_what_is_missing(officer, detector):
    answer = officer.post(reverse("monitoring:silence"), {"device": "GD0001", "site": "C1", "reason": "x"})
    assert answer.status_code == 422
    assert officer.post(reverse("monitoring:silence"), {"device": "nobody"}).status_code == 422


def test_the_list(client, personas, detector):
    def make(count):
        for number in range(count):
            maintenance.open_maintenance(
                device=detector, reason=f"维修{number}", starts_at=NOON, ends_at=NOON + HOUR,
                by=personas["city_officer"], at=NOON,
            )  # fmt: skip

    users = [personas[name] for name in ("town_officer_here", "town_officer_elsewhere", "insurer", "city_officer")]
    check_list_page(client, MaintenanceList, reverse("monitoring:maintenance"), users=users, make=make)
