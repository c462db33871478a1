"""What maintenance and a gateway that was gone kept from people is counted apart, as the live recorder kept it."""

import csv
from datetime import timedelta

import numpy as np
import pytest
from django.urls import reverse
from django.utils import timezone

from zhenan.domains.backtest import commands, services
from zhenan.domains.backtest.models import Trial
from zhenan.domains.backtest.tests.test_backtest import DAY0, SINCE, ms, own_history, sites
from zhenan.domains.monitoring.devices import register_device
from zhenan.domains.monitoring.maintenance import open_maintenance
from zhenan.domains.monitoring.models import Alarm, Device
from zhenan.domains.monitoring.queries import judge_setup
from zhenan.domains.monitoring.services import record_transitions, release_held
from zhenan.telemetry.columns import Columns
from zhenan.telemetry.history.table import History, as_table
from zhenan.telemetry.judge.live import LiveJudge

__all__ = ["own_history", "sites"]
OFFLINE = "catering_gas.detector_offline"  # silent for more than half an hour
UNTIL = DAY0 + timedelta(hours=12)
# device → hours of (its last reading, the next one); besides it reports every ten minutes
GAPS = {"GW": (2, 5), "T0": (2, 5 + 1 / 12), "T1": (2 - 1 / 6, 8), "T2": (6, 7), "D0": (1, 2.5), "D1": (1, 5)}
TOLD = {"GW": 2.5, "T0": None, "T1": 5.25, "T2": 6.5, "D0": None, "D1": 4}  # worked by hand


@pytest.fixture
def devices(sites, personas):
    """A gateway with three terminals, and two detectors that are under maintenance from 01:00 to 04:00."""
    site, made = sites["here"].device.subject, {}
    for key in GAPS:
        made[key] = register_device(
            subject=site, model="catering_gas.gas_detector", key=key, name=key, by=None, at=DAY0,
            parent=made["GW"] if key.startswith("T") else None,
        )  # fmt: skip
    for key in ("D0", "D1"):
        start = DAY0 + timedelta(hours=1)
        open_maintenance(device=made[key], reason="换探头", starts_at=start, ends_at=start + timedelta(hours=3),
                         by=personas["town_officer_here"], at=start)  # fmt: skip
    return made


@pytest.fixture
def history(devices, settings):
    """The readings; and the live judge and recorder went through them, looking every ten minutes."""
    rows = []
    for key, (last, again) in GAPS.items():
        point = devices[key].points.get(measure="gas_lel").pk
        times = {ms(n / 6) for n in range(72) if not last < n / 6 < again} | {ms(last), ms(again)}
        rows += [(ts, point, float(n % 2)) for n, ts in enumerate(sorted(times))]
    ts, point, value = (np.array(column) for column in zip(*sorted(rows), strict=True))
    columns = Columns.of(point, ts, value, np.zeros(ts.size))
    History(settings.HISTORY_URL).append(as_table(columns, np.arange(1, ts.size + 1)), "e", ts.size)
    live, gateway = LiveJudge(judge_setup()), devices["GW"].points.get(measure="gas_lel").pk
    for n in range(73):
        now = DAY0 + timedelta(minutes=10 * n)
        step = (ts > ms(n / 6) - 600_000) & (ts <= ms(n / 6))
        said = live.judge(Columns.of(point[step], ts[step], value[step], np.zeros(step.sum())), n + 1)
        if gateway in point[step]:
            Device.objects.filter(pk=devices["GW"].pk).update(last_seen_at=now)
        record_transitions([*said, *live.advance(ms(n / 6) + 1)], at=now)
        release_held(at=now)


def test_it_is_told_of_what_and_when_the_live_recorder_told(history, devices, personas, client):
    trial = services.begin(rule=OFFLINE, changed={}, division=None, since=SINCE, until=UNTIL,
                           by=personas["city_officer"], at=timezone.now())  # fmt: skip
    assert services.carry_out(trial.pk) == "done", Trial.objects.get().error
    hits = trial.hits.filter(device__in=devices.values()).select_related("device")
    moments = {key: None if hours is None else DAY0 + timedelta(hours=hours) for key, hours in TOLD.items()}
    assert {hit.device.key: hit.told_at for hit in hits} == moments
    alarms = Alarm.objects.filter(rule=OFFLINE, device__in=devices.values()).select_related("device")
    assert {a.device.key: a.raised_at for a in alarms} == {key: at for key, at in moments.items() if at}
    held = {hit.device.key: hit.held for hit in hits}
    assert held == {"GW": "", "T0": "parent", "T1": "parent", "T2": "", "D0": "maintenance", "D1": "maintenance"}
    trial.refresh_from_db()
    figures = trial.summary["versions"]["standing"]
    counted = {key: figures[key] for key in ("alarms", "told", "told_later", "silenced", "folded")}
    assert counted == {"alarms": 6, "told": 4, "told_later": 2, "silenced": 1, "folded": 1}
    assert {n for _name, _role, n in figures["by_person"]} == {4}  # nobody would have heard of the other two
    client.force_login(personas["city_officer"])
    page = client.get(trial.get_absolute_url()).content.decode()
    assert f"{reverse('backtest:hits', args=[trial.pk])}?version=standing&amp;told=1" in page
    rows = client.get(reverse("backtest:hits", args=[trial.pk]), {"told": "0", "held": "parent", "export": "csv"})
    lines = list(csv.reader(b"".join(rows.streaming_content).decode("utf-8-sig").splitlines()))
    assert [line[1] for line in lines[1:]] == ["T0"]


def test_a_window_over_the_subject_silences_all_behind_it_and_the_command_says_so(
    history, devices, personas, capsys, tmp_path
):
    start = DAY0 + timedelta(hours=2)
    open_maintenance(subject=devices["GW"].subject, reason="停产", starts_at=start, ends_at=start + timedelta(hours=8),
                     by=personas["town_officer_here"], at=start)  # fmt: skip
    out = tmp_path / "alarms.csv"
    argv = ["--rule", OFFLINE, "--from", "2026-03-02", "--to", "2026-03-02", "--out", str(out)]
    assert commands.main(argv) == 0
    # D0 as before; GW, T0, T1 and T2 in the longer window; D1 from its own into the longer one, back before its end.
    # The local day ends at 16:00 UTC: all six fell silent once more after noon, and that is told at once.
    assert "told: 6, 0 of them later; silenced by maintenance 6, folded under a gateway that was gone 0" in (
        capsys.readouterr().out
    )
    rows = list(csv.DictReader(out.open(encoding="utf-8-sig")))
    assert [row["held"] for row in rows] == ["maintenance"] * 6 + [""] * 6
    assert [bool(row["told"]) for row in rows] == [False] * 6 + [True] * 6
