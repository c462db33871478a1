"""The engines the tests themselves stand on."""

from __future__ import annotations

import asyncio
import os
from urllib.parse import unquote, urlsplit

import nats
import paho.mqtt.client as mqtt
import pytest

from zhenan.server import embedded


def test_an_acknowledged_message_survives_a_killed_nats(tmp_nats):
    async def publish():
        client = await nats.connect(tmp_nats.url)
        stream = client.jetstream()
        await stream.add_stream(name="kept", subjects=["kept.>"])
        await stream.publish("kept.one", b"reading")
        await client.close()

    async def read_back():
        client = await nats.connect(tmp_nats.url)
        message = await client.jetstream().get_msg("kept", 1)
        await client.close()
        return message.data

    asyncio.run(publish())
    tmp_nats.kill()
    tmp_nats.start()
    assert asyncio.run(read_back()) == b"reading"


def test_a_committed_row_survives_a_killed_postgres_and_trigrams_know_chinese(tmp_postgres):
    import psycopg

    with psycopg.connect(tmp_postgres.url) as db:
        db.execute("CREATE EXTENSION pg_trgm")
        db.execute("CREATE TABLE kept (name text)")
        db.execute("INSERT INTO kept VALUES ('镇江市京口区')")
    tmp_postgres.kill()
    tmp_postgres.start()
    with psycopg.connect(tmp_postgres.url) as db:
        assert db.execute("SELECT name FROM kept WHERE similarity(name, '京口区') > 0.1").fetchall() == [
            ("镇江市京口区",)
        ]


@pytest.mark.django_db
def test_djangos_database_is_this_processs_own_and_fully_migrated():
    from django.db import connection
    from django.db.migrations.executor import MigrationExecutor

    executor = MigrationExecutor(connection)
    assert str(os.getpid()) in connection.settings_dict["NAME"]
    assert executor.migration_plan(executor.loader.graph.leaf_nodes()) == []


def test_a_lock_file_naming_a_stranger_does_not_keep_postgres_down(tmp_postgres):
    tmp_postgres.kill()
    lock = tmp_postgres.engine.cluster / "postmaster.pid"
    rest = lock.read_text().partition("\n")[2]
    lock.write_text(f"{os.getpid()}\n{rest}")  # the number was given to another process since
    tmp_postgres.start()
    assert tmp_postgres.engine.ready()


def test_an_engine_left_running_by_a_killed_supervisor_is_stopped_not_doubled(tmp_nats, tmp_postgres):
    for own in (tmp_nats, tmp_postgres):
        left = own.process
        own.start()
        assert left.wait(10) is not None
        assert own.engine.ready()


def test_a_device_may_publish_its_own_messages_and_read_nothing_of_others(tmp_nats):
    heard: list[bytes] = []

    async def converse():
        inside = await nats.connect(tmp_nats.url)
        subscription = await inside.subscribe("d.>")
        device = await connected_device(tmp_nats, heard)
        device.publish("d/GAS-1/up/readings", b"21.5", qos=1).wait_for_publish(5)
        device.publish("alarms/forged", b"x", qos=0)
        device.subscribe("#", qos=0)
        message = await subscription.next_msg(timeout=5)
        await inside.publish("d.GAS-2.up.readings", b"someone else's")
        await inside.flush()
        await asyncio.sleep(0.3)
        device.disconnect()
        await inside.close()
        return message

    message = asyncio.run(converse())
    assert (message.subject, message.data) == ("d.GAS-1.up.readings", b"21.5")
    assert heard == []


async def connected_device(server, heard):
    address = urlsplit(server.mqtt_url)
    device = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="GAS-1")
    device.username_pw_set(address.username, unquote(address.password))
    device.on_message = lambda client, userdata, message: heard.append(message.payload)
    device.connect(address.hostname, address.port)
    device.loop_start()
    while not device.is_connected():
        await asyncio.sleep(0.01)
    return device


def test_any_free_port_is_given_once():
    ports = [embedded.free_port(0) for _ in range(500)]
    assert len(set(ports)) == 500
