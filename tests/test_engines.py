"""The engines the tests themselves stand on."""

from __future__ import annotations

import asyncio
import os

import nats
import pytest


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
