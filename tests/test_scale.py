"""The sizing rule of docs/scale.md: the province adds up, the load is the devices', the arithmetic is the pencil's."""

from __future__ import annotations

import json

import numpy as np
import pytest
from bench import scale

SMALL = (scale.Fleet("fast", 50, 2, 1), scale.Fleet("slow", 600, 1, 60))


def test_a_province_is_thirteen_cities():
    city, province = scale.demand(1), scale.demand(13)
    assert city["devices"] == 83_491 + 9_385 + 4_326 + 2_000 + 5_000 + 300
    assert round(city["readings_per_s"]) == round(83_491 / 300 + 9_385 / 60 + 4_326 / 60 + 16_000 + 500 + 300 / 8.64)
    assert province == {name: pytest.approx(13 * value) for name, value in city.items()}
    assert 1_300_000 <= province["devices"] <= 1_400_000


def test_the_load_has_every_device_report_as_often_as_it_should(monkeypatch):
    monkeypatch.setattr(scale, "CITY", SMALL)
    load = scale.Load(2)
    seconds = [load.second(at) for at in range(120)]
    counts = np.bincount(np.concatenate([one.point for one in seconds]), minlength=load.every_s.size)
    assert counts[:200].tolist() == [120] * 200
    assert counts[200:].tolist() == [2] * 1200
    assert {int(ts) for one in seconds[7:8] for ts in one.ts} == {scale.T0_MS + 7000}


def test_everything_that_was_sent_is_judged_and_carried(monkeypatch):
    monkeypatch.setattr(scale, "CITY", SMALL)
    found = scale.simulate(1, 30)
    assert found["readings"] == found["judged"] == pytest.approx(30 * (100 + 10), rel=0.1)
    assert (found["points"], found["rules_per_point"]) == (700, 3)
    assert found["log_bytes_per_reading"] > 21  # 4 + 8 + 8 + 1, and a head a message
    history = scale.history_figures(1)
    assert 0 < history["history_bytes_per_reading"] < 60


def test_cores_and_bytes_by_pencil():
    found = {
        "readings": 1_000_000.0, "judge_s": 0.15, "carry_s": 0.05, "remember_s": 0.5,
        "history_readings_per_s": 2_000_000.0, "log_bytes_per_reading": 21.0, "history_bytes_per_reading": 10.0,
        "state_bytes": 6_000_000.0, "points": 100_000.0, "memory_bytes": 1_405_000.0, "points_heard": 5_000.0,
    }  # fmt: skip
    got = scale.sizing({"readings_per_s": 200_000.0}, found, gateway=50_000.0)
    assert got == {
        "gateway_readings_per_s_per_core": 50_000,
        "judge_readings_per_s_per_core": 5_000_000,
        "historian_readings_per_s_per_core": 1_000_000,  # 0.5 µs to remember and 0.5 µs to write
        "gateway_cores": 12,  # 200,000 × 3 ÷ 50,000
        "judge_cores": 1,
        "historian_cores": 1,
        "log_gb_per_day_and_node": 362.9,  # 200,000 × 86,400 × 21
        "log_gb_per_day": 1088.6,
        "history_gb_per_day": 172.8,
        "judge_state_bytes_per_point": 60,
        "historian_memory_bytes_per_point": 281,
    }


def test_it_prints_what_it_found(monkeypatch, capsys):
    monkeypatch.setattr(scale, "CITY", SMALL)
    assert scale.main(["--cities", "1", "--seconds", "3", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == {"needs", "measured", "sizing"}
    assert scale.main(["--cities", "1", "--seconds", "3"]) == 0
    assert "judge_cores" in capsys.readouterr().out
