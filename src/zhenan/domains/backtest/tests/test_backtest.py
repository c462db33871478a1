"""A rule tried on history: what it would have given is counted, placed, and held against what people verified."""

import csv
import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from django.urls import reverse
from django.utils import timezone

from zhenan.domains.backtest import commands, services
from zhenan.domains.backtest.errors import AlreadyOver, BadPeriod, BadRule, NoPoints, UnknownRule
from zhenan.domains.backtest.lists import HitList, TrialList
from zhenan.domains.backtest.models import Hit, Trial
from zhenan.domains.monitoring import services as monitoring
from zhenan.domains.monitoring.devices import register_device
from zhenan.domains.monitoring.models import Alarm
from zhenan.domains.register.models import Subject
from zhenan.kernel.access import NotAllowed
from zhenan.kernel.lists.contract import check_list_page
from zhenan.kernel.notices.models import Notice
from zhenan.packkit.registry import registry
from zhenan.packkit.sync import sync_packs
from zhenan.telemetry.columns import Columns
from zhenan.telemetry.history.table import History, as_table
from zhenan.telemetry.judge.results import Transition

RULE = "catering_gas.gas_alarm"  # at 20 %LEL, back to normal below 10 for a minute
DAY0 = datetime(2026, 3, 2, 0, 0, tzinfo=UTC)
SINCE, UNTIL = DAY0, DAY0 + timedelta(days=2)


@pytest.fixture(autouse=True)
def own_history(settings, tmp_path, monkeypatch):
    settings.HISTORY_URL = str(tmp_path / "history")
    monkeypatch.setenv("ZHENAN_BACKTEST_WORKERS", "1")


@pytest.fixture
def sites(personas, db):
    """A caterer here with a detector, and one elsewhere."""
    sync_packs()
    made = {}
    for name, division in (("here", personas.grid), ("elsewhere", personas.elsewhere)):
        subject = Subject.objects.create(
            type="catering_gas.caterer", programme="catering_gas", key=f"C-{name}", name=f"饭店 {name}",
            division=division, organisation=personas.organisations[f"enterprise-{name}"],
        )  # fmt: skip
        device = register_device(
            subject=subject, model="catering_gas.gas_detector", key=f"GD-{name}", name="后厨", by=None, at=DAY0
        )
        made[name] = device.points.get(measure="gas_lel")
    return made


def ms(hours):
    return int((DAY0 + timedelta(hours=hours)).timestamp() * 1000)


@pytest.fixture
def readings(sites, settings):
    """Here: 22 %LEL at 01:00 for a while, 32 at 05:00, and 22 at 30:00; elsewhere: 40 at 02:00. Normal between."""
    here, elsewhere = sites["here"].pk, sites["elsewhere"].pk
    rows = [(here, ms(h / 4), 1.0) for h in range(192)]
    rows += [(here, ms(1) + 1000, 22.0), (here, ms(5) + 1000, 32.0), (here, ms(30) + 1000, 22.0)]
    rows += [(elsewhere, ms(h), 1.0) for h in range(48)] + [(elsewhere, ms(2) + 1000, 40.0)]
    rows.sort(key=lambda row: row[1])
    point, ts, value = zip(*rows, strict=True)
    columns = Columns.of(point, ts, value, [0] * len(rows))
    History(settings.HISTORY_URL).append(as_table(columns, np.arange(1, len(rows) + 1)), "e", len(rows))


@pytest.fixture
def verified(sites, readings, personas):
    """What was recorded then: 01:00 judged a false alarm, 05:00 a true one."""
    for hours, value, cause in ((1, 22.0, "false_alarm"), (5, 32.0, "real")):
        onset, at = ms(hours) + 1000, DAY0 + timedelta(hours=hours, minutes=1)
        key = str(sites["here"].pk)
        monitoring.record_transitions([Transition(key, RULE, "raise", onset, onset, value, 2)], at=at)
        alarm = Alarm.objects.get(point=sites["here"], raised_at=datetime.fromtimestamp(onset / 1000, UTC))
        monitoring.record_transitions([Transition(key, RULE, "clear", onset + 1_800_000, onset, 1.0, 2)], at=at)
        Alarm.objects.filter(pk=alarm.pk).update(cause=cause, state="judged", judged_at=at)


def ask(personas, **more):
    given = {"rule": RULE, "changed": {}, "division": None, "since": SINCE, "until": UNTIL, **more}
    by = given.pop("by", personas["city_officer"])
    return services.begin(**given, by=by, at=timezone.now())


def raised_to(above):
    return {**registry().alarm_rule(RULE).rule, "above": above}


def test_alarms_are_counted_by_day_place_and_person_and_held_against_verified_causes(verified, personas):
    trial = ask(personas, changed=raised_to(30))
    assert services.carry_out(trial.pk) == "done"
    trial.refresh_from_db()
    standing, changed = trial.summary["versions"]["standing"], trial.summary["versions"]["changed"]
    assert (standing["alarms"], standing["subjects"], standing["only_here"]) == (4, 2, 2)
    assert (changed["alarms"], changed["only_here"]) == (2, 0)
    assert standing["causes"] == {"false_alarm": 1, "real": 1}
    assert (standing["precision"], changed["precision"]) == (0.5, 1.0)
    assert (standing["missed_real"], changed["missed_real"]) == (0, 0)
    assert standing["by_day"] == [["2026-03-02", 3], ["2026-03-03", 1]]
    assert sum(n for _code, _name, n in standing["by_division"]) == 4
    assert [name for name, role, _n in standing["by_person"] if role == "grid_worker"] == ["grid_worker"]
    assert trial.hits.filter(version="standing", recorded__cause="real").count() == 1
    assert Notice.objects.filter(recipient=personas["city_officer"], kind="backtest.done").count() == 1


def test_a_higher_threshold_that_misses_a_true_alarm_says_so(verified, personas):
    trial = ask(personas, changed=raised_to(35))
    services.carry_out(trial.pk)
    trial.refresh_from_db()
    changed = trial.summary["versions"]["changed"]
    assert changed["missed_real"] == 1
    assert changed["missed"] == [str(Alarm.objects.get(cause="real").pk)]
    assert changed["precision"] is None


def test_a_person_tries_it_on_what_they_may_see(readings, personas):
    trial = ask(personas, by=personas["district_officer_here"])
    services.carry_out(trial.pk)
    assert set(trial.hits.values_list("subject__key", flat=True)) == {"C-here"}
    assert list(Trial.objects.visible_to(personas["district_officer_elsewhere"])) == []


def test_done_again_after_a_crash_it_is_the_same(verified, personas):
    trial = ask(personas)
    Hit.objects.create(
        trial=trial, version="standing", point_id=Alarm.objects.first().point_id, device=Alarm.objects.first().device,
        subject=Alarm.objects.first().subject, onset=SINCE, raised_at=SINCE,
    )  # fmt: skip
    Trial.objects.filter(pk=trial.pk).update(state="running")
    services.carry_out(trial.pk)
    assert trial.hits.count() == 4
    assert services.carry_out(trial.pk) == "done"
    assert trial.hits.count() == 4


def test_stopping_keeps_nothing_and_is_seen_by_the_worker(readings, personas):
    trial = ask(personas)
    services.stop(trial.pk, by=personas["city_officer"], at=timezone.now())
    assert services.carry_out(trial.pk) == "stopped"
    assert not trial.hits.exists()
    with pytest.raises(AlreadyOver):
        services.stop(trial.pk, by=personas["city_officer"], at=timezone.now())


def test_a_history_that_cannot_be_read_leaves_it_failed_saying_why(readings, personas, settings, tmp_path):
    trial = ask(personas)
    for part in (tmp_path / "history").rglob("*.parquet"):
        part.write_bytes(b"not parquet")
    assert services.carry_out(trial.pk) == "failed"
    trial.refresh_from_db()
    assert trial.error
    assert trial.finished_at


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"rule": "catering_gas.gas_alrm"}, UnknownRule),
        ({"changed": {"kind": "threshold", "above": 5, "clear": 9}}, BadRule),
        ({"since": UNTIL, "until": SINCE}, BadPeriod),
        ({"until": datetime(2100, 1, 1, tzinfo=UTC)}, BadPeriod),
        ({"since": datetime(2001, 1, 1, tzinfo=UTC)}, BadPeriod),
        ({"rule": "smart_fire.smoke_fire"}, NoPoints),
    ],
)
def test_what_cannot_be_asked_is_refused_in_words(sites, personas, given, error):
    with pytest.raises(error) as caught:
        ask(personas, **given)
    assert "{" not in str(caught.value)
    assert not Trial.objects.exists()


def test_only_who_may_try_rules_can_ask(sites, personas):
    with pytest.raises(NotAllowed):
        ask(personas, by=personas["grid_worker"])


def test_the_pages_ask_show_and_list(verified, personas, client):
    client.force_login(personas["city_officer"])
    page = client.get(reverse("backtest:new"), {"rule": RULE}).content.decode()
    assert 'name="p_above"' in page
    assert 'name="p_below"' not in page
    assert f'value="{timezone.localdate().isoformat()}"' in page  # what a browser's date field understands
    data = {
        "rule": RULE,
        "since": "2026-03-02",
        "until": "2026-03-03",
        "p_above": "30",
        "p_clear": "10",
        "p_clear_for_s": 60,
    }
    answer = client.post(reverse("backtest:new"), {**data, "p_clear": "50"})
    assert answer.status_code == 422
    assert "clear" in answer.content.decode()
    answer = client.post(reverse("backtest:new"), data)
    assert answer.status_code == 302, answer.content.decode()
    trial = Trial.objects.get()
    assert trial.changed["above"] == 30
    assert "trial-progress" in client.get(trial.get_absolute_url()).content.decode()
    services.carry_out(trial.pk)
    assert client.get(reverse("backtest:progress", args=[trial.pk])).headers["HX-Refresh"] == "true"
    page = client.get(trial.get_absolute_url()).content.decode()
    for word in ("trial-by-day", "50", "2026"):
        assert word in page
    rows = client.get(reverse("backtest:hits", args=[trial.pk]), {"version": "changed"}).content.decode()
    assert rows.count("饭店 elsewhere") >= 1


def test_the_list_pages_keep_their_contract(verified, personas, client):
    officer = personas["city_officer"]
    users = [officer, personas["administrator"]]
    trial = ask(personas, changed=raised_to(30))
    services.carry_out(trial.pk)
    hit = trial.hits.first()

    def more_trials(count):
        Trial.objects.bulk_create(
            Trial(rule=RULE, actor=officer, at=DAY0 + timedelta(minutes=i), since=SINCE, until=UNTIL)
            for i in range(count)
        )

    def more_hits(count):
        for i in range(count):
            hit.pk, hit.raised_at = None, DAY0 + timedelta(minutes=i)
            hit.save(force_insert=True)

    check_list_page(client, TrialList, reverse("backtest:list"), users=users, make=more_trials)
    check_list_page(client, HitList, reverse("backtest:hits", args=[trial.pk]), users=users, make=more_hits)


def test_the_command_prints_figures_and_writes_the_alarms(verified, capsys, tmp_path):
    out = tmp_path / "alarms.csv"
    argv = ["--rule", RULE, "--from", "2026-03-02", "--to", "2026-03-03", "--set", "above=30"]
    assert commands.main([*argv, "--json", "--out", str(out)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["versions"]["standing"]["alarms"] == 4
    assert found["versions"]["changed"]["precision"] == 1.0
    rows = list(csv.DictReader(out.open(encoding="utf-8-sig")))
    assert [row["version"] for row in rows].count("changed") == 2
    assert {row["cause"] for row in rows} == {"", "real", "false_alarm"}
    assert commands.main(argv) == 0
    assert "precision 50.0 %" in capsys.readouterr().out
    assert commands.main([*argv, "--set", "above=x"]) == 2
    assert "above" in capsys.readouterr().err
    assert commands.main(["--rule", "no.such"]) == 2
    assert commands.main([*argv, "--division", "9"]) == 2
