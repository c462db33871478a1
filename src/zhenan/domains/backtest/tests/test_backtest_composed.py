"""Rules made of alarms, and families of stages, tried on history: counted as the console would have shown them."""

import json
from datetime import timedelta
from urllib.parse import urlencode

import numpy as np
import pytest
from django.urls import reverse
from django.utils import timezone, translation

from zhenan.domains.backtest import commands, services
from zhenan.domains.backtest.errors import BadRule, NoHistory, UnknownRule
from zhenan.domains.backtest.models import Trial
from zhenan.domains.backtest.tests.test_backtest import DAY0, SINCE, UNTIL, ms, own_history, sites
from zhenan.domains.monitoring.models import Alarm
from zhenan.domains.monitoring.queries import judge_setup
from zhenan.domains.monitoring.services import record_transitions
from zhenan.packkit.registry import Registry, registry
from zhenan.telemetry.columns import Columns
from zhenan.telemetry.history.table import History, as_table
from zhenan.telemetry.judge.live import LiveJudge

__all__ = ["own_history", "sites"]
BOTH, FAMILY = "catering_gas.both", "family:catering_gas.gas"
STAGES = [f"catering_gas.{name}" for name in ("gas_prealarm", "gas_alarm", "gas_high")]


IN_FAMILY: dict[str, str | None] = {BOTH: None}


@pytest.fixture
def in_family(monkeypatch):
    """The composite is one of the family's stages too."""
    monkeypatch.setitem(IN_FAMILY, BOTH, "gas")


@pytest.fixture(autouse=True)
def pack(monkeypatch):
    """As if the pack made the three gas rules a family, and a rule of two of them."""
    get, listed = Registry._get, Registry._list

    def patched_get(self, kind, code):
        if (kind, code) == ("alarm_rule", BOTH):
            rule = {"kind": "all_of", "rules": ["gas_prealarm", "gas_alarm"]}
            family = IN_FAMILY[BOTH]
            more = {"id": BOTH, "rule": rule, "level": 1, "tell": ["town_office"], "family": family, "act": []}
            return get(self, kind, STAGES[1]).model_copy(update=more)
        found = get(self, kind, code)
        return found.model_copy(update={"family": "gas", "act": []}) if code in STAGES else found

    def patched_list(self, kind, of):
        found = listed(self, kind, of)
        if kind != "alarm_rule":
            return found
        more = [BOTH] if of in (None, "catering_gas") else []
        return [patched_get(self, kind, code) for code in [one.id for one in found] + more]

    monkeypatch.setattr(Registry, "_get", patched_get)
    monkeypatch.setattr(Registry, "_list", patched_list)


@pytest.fixture
def history(sites, settings):
    """Here: 25 %LEL from 01:00 for two minutes, 55 then, 1 from five minutes on, for ten minutes; elsewhere 12."""
    here, there = sites["here"].pk, sites["elsewhere"].pk
    minutes = [25, 25, 25, 55, 30, *[1] * 10]
    rows = [(here, ms(1) + n * 60_000, float(value)) for n, value in enumerate(minutes)]
    rows += [(there, ms(1) + n * 60_000, 12.0 if n < 5 else 1.0) for n in range(15)]
    rows.sort(key=lambda row: row[1])
    point, ts, value = zip(*rows, strict=True)
    columns = Columns.of(point, ts, value, [0] * len(rows))
    History(settings.HISTORY_URL).append(as_table(columns, np.arange(1, len(rows) + 1)), "e", len(rows))
    return columns


def record(columns):
    """What the live judge says of it, recorded."""
    live = LiveJudge(judge_setup())
    record_transitions(live.judge(columns, 1), at=DAY0 + timedelta(hours=2))


def at(minutes):
    return DAY0 + timedelta(hours=1, minutes=minutes)


def ask(personas, rule, changed=None, by="city_officer"):
    return services.begin(
        rule=rule, changed=changed or {}, division=None, since=SINCE, until=UNTIL, by=personas[by], at=timezone.now()
    )


def done(trial):
    assert services.carry_out(trial.pk) == "done", Trial.objects.get(pk=trial.pk).error
    trial.refresh_from_db()
    return trial.summary["versions"]


def test_a_composite_is_raised_where_the_live_judge_raised_it_and_a_shorter_time_misses_it(history, personas):
    record(history)
    alarm = Alarm.objects.get(rule=BOTH)
    Alarm.objects.filter(pk=alarm.pk).update(cause="real", state="judged", judged_at=UNTIL)
    trial = ask(personas, BOTH, {"kind": "all_of", "rules": ["gas_prealarm", "gas_alarm"], "within_s": 30})
    found = done(trial)
    (hit,) = trial.hits.all()
    assert (hit.version, hit.raised_at, hit.level) == ("standing", at(1), 1)  # the early warning waits a minute
    assert (hit.raised_at, hit.cleared_at, hit.recorded) == (alarm.raised_at, alarm.cleared_at, alarm)
    assert (found["standing"]["alarms"], found["standing"]["precision"]) == (1, 1.0)
    assert (found["changed"]["alarms"], found["changed"]["missed_real"]) == (0, 1)
    assert {role for _name, role, _n in found["standing"]["by_person"]} == {"town_office"}


def test_a_family_is_one_alarm_as_the_console_has_it(history, personas):
    record(history)
    high = registry().alarm_rule(STAGES[2]).rule
    trial = ask(personas, FAMILY, {"gas_high": {**high, "above": 60}})
    found = done(trial)
    standing = {(h.subject_id, h.raised_at, h.cleared_at, h.level) for h in trial.hits.filter(version="standing")}
    alarms = Alarm.objects.filter(rule__in=STAGES)
    assert standing == {(a.subject_id, a.raised_at, a.cleared_at, a.peak_level or a.level) for a in alarms}
    assert found["standing"]["by_level"] == [[1, 1], [3, 1]]
    assert found["changed"]["by_level"] == [[2, 1], [3, 1]]
    assert (found["standing"]["steps"], found["changed"]["steps"]) == (1, 0)
    assert (found["standing"]["only_here"], found["changed"]["only_here"]) == (0, 0)
    assert trial.hits.filter(recorded__isnull=False).count() == 4
    assert set(trial.standing) == set(STAGES)
    assert set(trial.changed) == {STAGES[2]}


def test_a_family_with_a_stage_made_of_alarms_is_as_the_console_has_it(history, personas, in_family):
    record(history)
    trial = ask(personas, FAMILY, {"both": {"kind": "all_of", "rules": ["gas_prealarm", "gas_alarm"], "within_s": 30}})
    found = done(trial)
    standing = {(h.point_id, h.raised_at, h.cleared_at, h.level) for h in trial.hits.filter(version="standing")}
    alarms = Alarm.objects.filter(rule__in=[*STAGES, BOTH])
    assert standing == {(a.point_id, a.raised_at, a.cleared_at, a.peak_level or a.level) for a in alarms}
    # here: level 2 at once, 1 after a minute by the early warning that completes the composite; as tried 1 by 55 %LEL
    assert [found[version]["by_level"] for version in ("standing", "changed")] == [[[1, 1], [3, 1]]] * 2
    steps = {v: trial.hits.get(version=v, level=1).steps for v in ("standing", "changed")}
    assert steps == {"standing": 1, "changed": 1}
    assert set(trial.changed) == {BOTH}
    assert set(trial.standing) == {*STAGES, BOTH}


def test_an_alarms_page_leads_to_the_back_test_of_its_family_or_rule(history, personas, client):
    record(history)
    client.force_login(personas["city_officer"])
    for rule, code in ((STAGES[2], FAMILY), (BOTH, BOTH)):
        page = client.get(reverse("monitoring:alarm", args=[Alarm.objects.get(rule=rule).pk])).content.decode()
        assert f'href="{reverse("backtest:new")}?{urlencode({"rule": code})}"' in page


def test_the_form_of_a_family_offers_its_stage_made_of_alarms(sites, personas, client, in_family):
    client.force_login(personas["city_officer"])
    page = client.get(reverse("backtest:new"), {"rule": FAMILY}).content.decode()
    assert 'name="p_both__rules"' in page
    fields = {f"p_{code.rpartition('.')[2]}__{key}": value for code in STAGES
              for key, value in registry().alarm_rule(code).rule.items() if key != "kind"}  # fmt: skip
    sent = {**fields, "rule": FAMILY, "since": "2026-03-02", "until": "2026-03-03",
            "p_both__rules": ["gas_prealarm", "gas_alarm"]}  # fmt: skip
    assert client.post(reverse("backtest:new"), sent).status_code == 302
    assert client.post(reverse("backtest:new"), sent | {"p_both__within_s": 30}).status_code == 302
    same, tried = Trial.objects.order_by("pk")
    assert (same.changed, tried.changed) == (
        {}, {BOTH: {"kind": "all_of", "rules": ["gas_prealarm", "gas_alarm"], "within_s": 30}},
    )  # fmt: skip
    assert client.post(reverse("backtest:new"), sent | {"p_both__rules": ["gas_alarm"]}).status_code == 422


@pytest.mark.parametrize(
    ("rule", "changed", "error", "said"),
    [
        (BOTH, {"kind": "n_of", "n": 5, "rules": ["gas_prealarm", "gas_alarm"]}, BadRule, "n"),
        (BOTH, {"kind": "all_of", "rules": ["gas_alarm", "gas_alrm"]}, UnknownRule, "gas_alarm?"),
        (BOTH, {"kind": "all_of", "rules": ["gas_alarm"]}, BadRule, "at least 2"),
        (BOTH, {"kind": "all_of", "rules": ["gas_alarm", "both"]}, BadRule, "made of alarms"),
        (BOTH, {"kind": "threshold", "above": 1}, BadRule, "all_of"),
        (STAGES[1], {"kind": "all_of", "rules": ["gas_alarm", "gas_high"]}, BadRule, "made of alarms"),
        (STAGES[1], {"kind": "threshold", "above": float("nan")}, BadRule, "finite"),
        (STAGES[1], {"kind": "threshold", "above": 5, "clear": 9}, BadRule, "clear"),
        (FAMILY, {"gas_high": {"kind": "threshold", "above": "high"}}, BadRule, "gas_high.above"),
        (FAMILY, {"co_alarm": {"kind": "threshold", "above": 3}}, BadRule, "not of this family"),
        (FAMILY, {"gas_high": 60}, BadRule, "parameters"),
        (FAMILY, {"gas_high": {"kind": "all_of", "rules": ["gas_alarm", "gas_high"]}}, BadRule, "gas_high.kind"),
        ("family:catering_gas.gaz", {}, UnknownRule, "family:catering_gas.gas?"),
    ],
)
def test_what_cannot_be_tried_is_refused_in_words(sites, personas, rule, changed, error, said):
    with translation.override("en"):
        with pytest.raises(error) as caught:
            ask(personas, rule, changed)
        assert said in str(caught.value)
    assert not Trial.objects.exists()


def test_a_rule_over_a_history_without_a_reading_is_told_so(sites, personas):
    trial = ask(personas, STAGES[1])
    with translation.override("en"):
        assert services.carry_out(trial.pk) == "failed"
    trial.refresh_from_db()
    with translation.override("en"):
        assert trial.error == str(NoHistory())


def test_the_pages_and_the_command_know_them(history, personas, client, capsys):
    client.force_login(personas["city_officer"])
    page = client.get(reverse("backtest:new"), {"rule": BOTH}).content.decode()
    assert 'name="p_within_s"' in page
    days = {"since": "2026-03-02", "until": "2026-03-03"}
    sent = {**days, "rule": BOTH, "p_rules": ["gas_prealarm", "gas_alarm", "gas_high"], "p_n": 2}
    assert client.post(reverse("backtest:new"), sent).status_code == 302
    assert Trial.objects.get().changed == {"kind": "n_of", "n": 2, "rules": sent["p_rules"]}
    page = client.get(reverse("backtest:new"), {"rule": FAMILY}).content.decode()
    fields = {f"p_{code.rpartition('.')[2]}__{key}": value for code in STAGES
              for key, value in registry().alarm_rule(code).rule.items() if key != "kind"}  # fmt: skip
    for name in fields:
        assert f'name="{name}"' in page
    answer = client.post(reverse("backtest:new"), {**days, **fields, "rule": FAMILY, "p_gas_high__above": 60})
    assert answer.status_code == 302, answer.content.decode()
    trial = Trial.objects.order_by("pk").last()
    done(trial)
    assert [spec["above"] for spec in trial.changed.values()] == [60]
    page = client.get(trial.get_absolute_url()).content.decode()
    assert registry().label(STAGES[2], kind="alarm_rule") in page
    capsys.readouterr()
    argv = ["--rule", FAMILY, "--from", "2026-03-02", "--to", "2026-03-03", "--set", "gas_high.above=60", "--json"]
    assert commands.main(argv) == 0
    found = json.loads(capsys.readouterr().out)["versions"]
    assert (found["standing"]["steps"], found["changed"]["steps"]) == (1, 0)
    assert commands.main(["--rule", BOTH, *argv[2:6], "--set", "n=2", "--set", "within_s=90"]) == 0
    assert "1 alarms" in capsys.readouterr().out
    assert commands.main(["--rule", BOTH, *argv[2:6], "--set", "n=9"]) == 2
