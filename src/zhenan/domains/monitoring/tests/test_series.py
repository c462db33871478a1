"""A point's chart and export: which table, where it breaks, and that both say the same."""

import csv
import io
from datetime import timedelta

import numpy as np
import pyarrow.parquet as pq
import pytest
from django.urls import reverse

from zhenan.domains.monitoring import series
from zhenan.domains.monitoring.tests.conftest import NOON
from zhenan.telemetry.columns import Columns
from zhenan.telemetry.history.keeping import Keeper
from zhenan.telemetry.history.table import as_table

MINUTE = 60_000
T0 = int(NOON.timestamp() * 1000)


@pytest.fixture
def open_as(client, personas):
    def go(name, url, data=None):
        client.force_login(personas[name])
        return client.get(url, data)

    return go


@pytest.fixture
def point(detector, settings, tmp_path):
    settings.HISTORY_URL, settings.NATS_URL = str(tmp_path / "history"), ""
    found = detector.points.get(measure="gas_lel")
    minutes = [*range(120), *range(600, 720), *range(4 * 1440, 4 * 1440 + 60)]
    ts = [T0 + n * MINUTE for n in minutes]
    value = [n % 7 / 10 for n in minutes]
    quality = [1 if n == 3 else 0 for n in minutes]
    columns = Columns.of([found.pk] * len(ts), ts, value, quality)
    series.summaries(settings.HISTORY_URL).history.append(as_table(columns, np.ones(len(ts), np.int64)), "t", 1)
    return found


def test_a_short_span_shows_readings_and_breaks_at_the_gap_and_at_the_unfit_one(point):
    drawn = series.chart(point, since=NOON, until=NOON + timedelta(days=1))
    assert (drawn["resolution"], drawn["unfit"], drawn["band"]) == ("raw", 1, [])
    nothing = [ts for ts, value in drawn["points"] if value is None]
    assert nothing == [T0 + 3 * MINUTE, T0 + 119 * MINUTE + 1000]
    assert len(drawn["points"]) == 241


@pytest.mark.parametrize("kept", [False, True])
def test_longer_spans_show_hours_and_days_with_their_extremes(point, settings, kept):
    if kept:
        Keeper(series.summaries(settings.HISTORY_URL)).run((NOON + timedelta(days=9)).date())
    hours = series.chart(point, since=NOON, until=NOON + timedelta(days=7))
    assert hours["resolution"] == "hour"
    assert [band[0] for band in hours["band"]] == [T0 + n * 60 * MINUTE for n in (0, 1, 10, 11, 96)]
    assert all(band[1:] == [0.0, 0.6] for band in hours["band"])
    assert [ts for ts, value in hours["points"] if value is None] == [T0 + n * 60 * MINUTE for n in (2, 12)]
    days = series.chart(point, since=NOON - timedelta(days=200), until=NOON + timedelta(days=7))
    midnight = T0 - 12 * 60 * MINUTE  # noon here is midnight of UTC plus four; local days begin at 16:00 UTC
    assert [band[0] for band in days["band"]] == [midnight, midnight + 4 * 1440 * MINUTE]
    assert (days["resolution"], days["unfit"]) == ("day", 1)


def test_the_export_holds_what_the_chart_shows_and_only_for_those_who_may_see_it(point, open_as):
    url = reverse("monitoring:series_export", args=[point.pk])
    for days, which in ((1, "raw"), (7, "hour")):
        period = {"since": NOON.isoformat(), "until": (NOON + timedelta(days=days)).isoformat()}
        answer = open_as("town_officer_here", url, {**period, "format": "csv"})
        rows = list(csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode("utf-8-sig"))))
        drawn = series.chart(point, since=NOON, until=NOON + timedelta(days=days))
        assert len(rows) == (240 if which == "raw" else len(drawn["band"]))
        answer = open_as("town_officer_here", url, {**period, "format": "parquet"})
        table = pq.read_table(io.BytesIO(b"".join(answer.streaming_content)))
        assert table.num_rows == len(rows)
        assert "attachment" in answer["Content-Disposition"]
    assert open_as("town_officer_here", url, {"format": "xml"}).status_code == 400
    assert open_as("town_officer_here", url, {"resolution": "week"}).status_code == 400
    assert open_as("town_officer_elsewhere", url).status_code == 404
