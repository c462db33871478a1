"""/healthz and /metrics say what is, on real engines."""

from __future__ import annotations

import asyncio

import nats
import pytest
from prometheus_client import CollectorRegistry, Gauge

from zhenan.server import metrics


@pytest.mark.django_db
def test_healthz_is_well_and_tells_how_far_a_reader_is_behind(client, tmp_nats, monkeypatch):
    async def publish() -> None:
        inside = await nats.connect(tmp_nats.url)
        stream = inside.jetstream()
        await stream.add_stream(name="readings", subjects=["readings.>"])
        await stream.pull_subscribe("readings.>", durable="judge")
        for _ in range(3):
            await stream.publish("readings.0", b"x")
        await inside.close()

    asyncio.run(publish())
    monkeypatch.setenv("NATS_URL", tmp_nats.url)
    answer = client.get("/healthz")
    assert (answer.status_code, answer.json()["status"]) == (200, "ok")
    assert answer.json()["lag"] == {"readings/judge": 3}


@pytest.mark.django_db
def test_a_probe_that_knows_only_the_address_is_answered_and_pages_are_not(client, tmp_nats, monkeypatch, settings):
    monkeypatch.setenv("NATS_URL", tmp_nats.url)
    settings.ALLOWED_HOSTS = ["zhenan.example.gov.cn"]
    assert client.get("/healthz", HTTP_HOST="10.0.0.3:8000").status_code == 200
    assert client.get("/metrics", HTTP_HOST="10.0.0.3:8000").status_code == 400
    assert client.get("/", HTTP_HOST="10.0.0.3:8000").status_code == 400


@pytest.mark.django_db
def test_healthz_fails_when_the_broker_is_gone(client, tmp_nats, monkeypatch):
    monkeypatch.setenv("NATS_URL", tmp_nats.url)
    tmp_nats.kill()
    answer = client.get("/healthz")
    assert answer.status_code == 503
    assert (answer.json()["database"], answer.json()["nats"]) == (True, False)


@pytest.mark.django_db
def test_metrics_count_requests_by_route_and_include_other_processes(client):
    client.get("/healthz")
    registry = CollectorRegistry()
    Gauge("zhenan_gateway_connections", "Open connections", registry=registry).set(7)
    metrics.write("gateway", registry)
    text = client.get("/metrics").content.decode()
    assert 'zhenan_http_requests_total{method="GET",route="/healthz"' in text
    assert "zhenan_gateway_connections 7.0" in text


@pytest.mark.django_db
def test_metrics_are_for_this_machine_or_with_the_token(client, monkeypatch):
    monkeypatch.setenv("ZHENAN_METRICS_TOKEN", "t0ken")
    assert client.get("/metrics", REMOTE_ADDR="10.0.0.9").status_code == 403
    assert client.get("/metrics", REMOTE_ADDR="10.0.0.9", HTTP_AUTHORIZATION="Bearer t0ken").status_code == 200
    assert client.get("/metrics", HTTP_X_FORWARDED_FOR="10.0.0.9").status_code == 403


@pytest.mark.django_db
def test_every_answer_carries_the_id_its_log_lines_carry(client):
    assert client.get("/healthz", HTTP_X_REQUEST_ID="abc123").headers["X-Request-Id"] == "abc123"
    assert len(client.get("/healthz", HTTP_X_REQUEST_ID="bad id\n").headers["X-Request-Id"]) == 32
