"""Packs in the database: idempotent sync, the city's overrides kept, nothing deleted."""

from datetime import UTC, datetime

import pytest

from zhenan.kernel.events.models import Event
from zhenan.kernel.people.models import User
from zhenan.packkit import registry as registry_module
from zhenan.packkit.loader import PackFault
from zhenan.packkit.models import PackObject, PackVersion
from zhenan.packkit.registry import UnknownCode, registry
from zhenan.packkit.sync import BadOverride, override, sync_packs

pytestmark = pytest.mark.django_db
RULE = "cold_stores.too_warm"
AT = datetime(2023, 1, 31, tzinfo=UTC)


@pytest.fixture
def synced(pack):
    PackObject.objects.all().delete()
    PackVersion.objects.all().delete()
    sync_packs([pack.parent])
    return pack


def above():
    return registry().alarm_rule(RULE).rule["above"]


def test_a_second_sync_changes_nothing(synced):
    before = list(PackObject.objects.values())
    stamp = registry().stamp
    report = sync_packs([synced.parent])
    assert (report.created, report.updated, report.retired) == (0, 0, 0)
    assert list(PackObject.objects.values()) == before
    assert registry().stamp == stamp


def test_a_change_without_a_new_version_is_refused_and_changes_nothing(synced, spoil):
    spoil("alarms.yaml", "above: 0", "above: 2")
    with pytest.raises(PackFault, match="its version is 1; make it 2 or more"):
        sync_packs([synced.parent])
    assert above() == 0
    spoil("pack.yaml", "version: 1 ", "version: 2 ")
    assert sync_packs([synced.parent]).updated >= 1
    assert above() == 2


def test_an_override_tunes_a_threshold_and_survives_the_next_version(synced, spoil):
    changed = override("alarm_rule", RULE, {"rule": {"above": 3}, "level": 2}, at=AT)
    assert (changed.rule["above"], changed.rule["clear"], changed.level) == (3, -5, 2)
    assert (above(), registry().alarm_rule(RULE).level) == (3, 2)
    spoil("alarms.yaml", "respond_s: 1800", "respond_s: 900")
    spoil("pack.yaml", "version: 1 ", "version: 2 ")
    sync_packs([synced.parent])
    assert (above(), registry().alarm_rule(RULE).respond_s) == (3, 900)
    assert PackObject.objects.get(code=RULE).overridden_at == AT
    override("alarm_rule", RULE, {}, at=AT)
    assert above() == 0


def test_an_override_leaves_one_event_with_its_author(synced):
    officer = User.objects.create(username="officer-of-packs")
    override("alarm_rule", RULE, {"level": 2}, officer, at=AT)
    (event,) = Event.objects.filter(kind="pack.overridden")
    assert event.data["after"] == {"level": 2}
    assert event.actor_id == officer.pk
    assert PackObject.objects.get(code=RULE).overridden_by == str(officer)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rule": {"above": "warm"}}, "above"),
        ({"rule": {"clear": 7}}, "clear"),
        ({"level": 9}, "level: 9 is not allowed"),
        ({"lebel": 2}, "no such key; did you mean 'level'?"),
        ({"tell": ["nobody"]}, "no role 'nobody'"),
        ({"id": "cold_stores.other"}, "id: cannot be overridden"),
    ],
)
def test_an_override_that_does_not_fit_is_refused(synced, changes, said):
    with pytest.raises(BadOverride) as caught:
        override("alarm_rule", RULE, changes, at=AT)
    assert said in str(caught.value)
    assert above() == 0


def test_an_override_of_what_no_pack_has_is_refused(synced):
    with pytest.raises(UnknownCode):
        override("alarm_rule", "cold_stores.nothing", {"level": 2}, at=AT)


def test_an_override_that_the_next_version_makes_impossible_is_reported_and_left_unused(synced, spoil):
    override("alarm_rule", RULE, {"rule": {"clear": -1}}, at=AT)
    spoil("alarms.yaml", "above: 0, clear: -5", "above: -10, clear: -12")
    spoil("pack.yaml", "version: 1 ", "version: 2 ")
    report = sync_packs([synced.parent])
    assert len(report.dropped) == 1
    assert report.dropped[0].startswith(RULE)
    assert registry().alarm_rule(RULE).rule["clear"] == -12
    assert PackObject.objects.get(code=RULE).overrides == {"rule": {"clear": -1}}


def test_what_leaves_a_pack_is_retired_not_deleted(synced, spoil):
    text = (synced / "alarms.yaml").read_text("utf-8")
    (synced / "alarms.yaml").write_text(text[: text.index("  - id: offline")], "utf-8")
    story = (synced / "scenarios/first.yaml").read_text("utf-8")
    start, end = story.index("  - code: sensor_silent"), story.index("  - code: blocked_exit")
    (synced / "scenarios/first.yaml").write_text(story[:start] + story[end:], "utf-8")
    spoil("pack.yaml", "version: 1 ", "version: 2 ")
    assert sync_packs([synced.parent]).retired == 1
    assert [r.code for r in registry().alarm_rules()] == [RULE]
    assert registry().alarm_rule("cold_stores.offline").name.en == "Sensor offline"
    assert registry().label("cold_stores.offline", "en") == "Sensor offline"


def test_a_pack_whose_folder_is_gone_is_retired_and_comes_back(synced, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    sync_packs([empty])
    assert registry().subject_types() == []
    assert not PackVersion.objects.get(code="cold_stores").active
    sync_packs([synced.parent])
    assert [t.code for t in registry().subject_types()] == ["cold_stores.place"]


def test_another_process_sees_an_override_when_the_stamp_has_changed(synced, monkeypatch):
    assert above() == 0
    PackObject.objects.filter(code=RULE).update(overrides={"rule": {"above": 4}})  # as another process would
    from zhenan.packkit.models import SyncState

    SyncState.objects.update(stamp="another")
    monkeypatch.setattr(registry_module, "_checked_at", 0.0)
    assert above() == 4


def test_the_question_for_the_stamp_is_no_query_of_the_page(synced, django_assert_num_queries, monkeypatch):
    registry()
    monkeypatch.setattr(registry_module, "_checked_at", 0.0)
    with django_assert_num_queries(0):
        registry()


def test_what_was_retired_under_an_older_schema_does_not_stop_the_platform(synced):
    PackObject.objects.filter(code="cold_stores.offline").update(active=False, spec={"of": "old"})
    registry_module.invalidate()
    assert [r.code for r in registry().alarm_rules()] == [RULE]
    assert registry().label("cold_stores.offline", "en") == "cold_stores.offline"
