"""The benches beside peers: they say what is not installed, and they give everyone the same readings."""

from __future__ import annotations

import json

import numpy as np
import pytest
from bench import ingest, latency
from bench.peers import common, stream, victoria
from bench.peers import ingest as beside


def test_what_is_not_installed_is_named_with_its_package_and_the_bench_goes_on(monkeypatch, capsys):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(common.shutil, "which", lambda name, path: None)
    monkeypatch.setattr(beside.ours, "measure", lambda *given: {
        "name": "Zhen'an", "judged_by": "three rules a point", "readings": 1, "readings_per_s": 1,
        "cpu_s_per_million": 1.0, "bytes_a_reading": 1.0,
    })  # fmt: skip
    assert ingest.main(["--peers", "--peer-readings", "1"]) == 0
    said = capsys.readouterr().out
    assert "not installed: victoria-metrics (Debian's package victoria-metrics)" in said
    assert "not installed: zabbix_server" in said
    assert "(Debian's package zabbix-server-pgsql)" in said
    monkeypatch.setattr(
        latency, "measure", lambda *given: {"readings": 2000, "published_p50_ms": 1, "published_p99_ms": 2}
    )
    assert latency.main(["--peers", "--json"]) == 0
    missing = {one["name"]: one.get("missing", "") for one in json.loads(capsys.readouterr().out)["peers"]}
    assert "vmalert" in missing["VictoriaMetrics"]
    assert missing["Zabbix"].startswith("not installed")


def test_both_wordings_hold_the_same_readings():
    some = stream.rows(17, 1_772_424_000_250, high=range(2, 3))
    assert (some.first, some.value.shape) == (500, (500, 4))  # program 1 of 16: devices 500 to 999
    lines = stream.as_lines(some).decode().splitlines()
    data = json.loads(stream.as_trapper(some)[13:])["data"]
    assert lines[0].startswith("gas,device=h00500 v0=")
    assert lines[0].endswith(f",v2=50.0,v3={some.value[0, 3]} 1772424000250")
    assert len(lines) == 500
    assert data[2] == {"host": "h00500", "key": "v2", "value": "50.0", "clock": 1_772_424_000, "ns": 250_000_000}
    assert len(data) == stream.ROWS
    calm = np.delete(some.value.ravel(), 2)
    assert (calm.min(), calm.max()) == (5.0, 14.9)


def test_what_victoriametrics_was_given_is_what_it_has_stored(tmp_path):
    try:
        with victoria.running(tmp_path) as peer:
            found = beside._measured(peer, *(beside.stream_of(1, int(peer_ms())) for peer_ms in (_early, _late)))
    except common.NotInstalled as err:
        pytest.skip(str(err))
    assert found["readings"] == stream.POINTS
    assert found["cpu_s_per_million"] > 0
    assert 0 < found["bytes_a_reading"] < 30


def _early() -> float:
    return (int(common.time.time()) - 7200) * 1000


def _late() -> float:
    return _early() + 1000
