"""The engines the tests themselves stand on."""

from __future__ import annotations

import asyncio

import nats


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
