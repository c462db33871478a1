"""History on object storage: an S3 server of its own process on loopback (moto_server, where it is installed)."""

import shutil
import subprocess
import threading
import time
import urllib.request
from datetime import date

import numpy as np
import pytest

from zhenan.server.embedded import free_port
from zhenan.telemetry.columns import Columns
from zhenan.telemetry.history import lanes
from zhenan.telemetry.history.chart import Course
from zhenan.telemetry.history.delta import DAY_MS, day_ms
from zhenan.telemetry.history.keeping import Merging
from zhenan.telemetry.history.summaries import Summaries
from zhenan.telemetry.history.table import History, as_table, finished

DAY = date(2026, 3, 2)
T0 = day_ms(DAY)
LANES = 4


@pytest.fixture
def address(tmp_path, monkeypatch):
    """`s3://…` of an empty bucket."""
    program = shutil.which("moto_server") or pytest.skip("no S3 server here: moto_server (pip install moto[server])")
    port = free_port(0)
    with (tmp_path / "s3.log").open("wb") as out:
        server = subprocess.Popen([program, "-H", "127.0.0.1", "-p", str(port)], stdout=out, stderr=out)
    url = f"http://127.0.0.1:{port}"
    given = {"AWS_ENDPOINT_URL": url, "AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "key",
             "AWS_SECRET_ACCESS_KEY": "secret", "AWS_ALLOW_HTTP": "true"}  # fmt: skip
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    try:
        for _ in range(300):
            try:
                signed = {"Authorization": "AWS4-HMAC-SHA256 Credential=key/20260101/us-east-1/s3/aws4_request"}
                urllib.request.urlopen(urllib.request.Request(f"{url}/city", method="PUT", headers=signed), timeout=5)
                break
            except OSError:
                time.sleep(0.1)
        yield "s3://city/history"
    finally:
        server.terminate()
        server.wait(10)


def rows_of(lane, number):
    """Ten points of a lane, a reading each, at a second of its own."""
    points = np.arange(lane * 100, lane * 100 + 10)
    return Columns.of(points, np.full(10, T0 + number * 1000), np.full(10, 1.0 * number), np.zeros(10))


def keep_writing(address, lane, commits, failed):
    """A historian of one lane: commit after commit, each where the one before ended."""
    history = History(address)
    try:
        for number in range(1, commits + 1):
            table = as_table(rows_of(lane, number), np.full(10, number, np.int64))
            lanes.append(history, table, "e", LANES, {lane: (number - 1, number)})
    except Exception as err:
        failed.append(err)


def found(address):
    columns, _ = History(address).rows_since(0)
    return sorted(zip(columns.point.tolist(), columns.ts.tolist(), columns.value.tolist(), strict=True))


def test_two_historians_that_commit_at_once_lose_and_double_nothing_and_charts_read_what_was_merged(address):
    failed: list[Exception] = []
    History(address).create()
    both = [threading.Thread(target=keep_writing, args=(address, lane, 5, failed)) for lane in (1, 2)]
    for one in both:
        one.start()
    for one in both:
        one.join(60)
    assert failed == []
    wanted = [(lane * 100 + k, T0 + n * 1000, float(n)) for lane in (1, 2) for k in range(10) for n in range(1, 6)]
    assert found(address) == wanted
    Merging(History(address), finished).run(date(2026, 3, 4))
    assert found(address) == wanted
    assert len(History(address).files()) == 1
    summaries = Summaries.beside(address)
    summaries.make(DAY)
    course = Course(summaries, 103)
    assert course.series(T0, T0 + 60_000).readings.value.tolist() == [1, 2, 3, 4, 5]
    hour = course.series(T0, T0 + DAY_MS, "hour").summary
    assert (hour.count.tolist(), hour.low.tolist(), hour.high.tolist()) == ([5], [1.0], [5.0])


def test_a_historian_that_was_overtaken_writes_nothing_there(address):
    history = History(address)
    table = as_table(rows_of(1, 1), np.full(10, 1, np.int64))
    lanes.append(history, table, "e", LANES, {1: (0, 1)})
    with pytest.raises(lanes.Overtaken):
        lanes.append(History(address), table, "e", LANES, {1: (0, 1)})
    assert len(found(address)) == 10
