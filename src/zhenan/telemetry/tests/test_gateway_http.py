"""The gateway over HTTP: taken is on disk, refused is named, the same request twice is stored once."""

import asyncio
import gzip
import json
import time

import numpy as np
import pyarrow as pa
import pytest

from zhenan.telemetry.columns import Columns
from zhenan.telemetry.gateway import quarantine
from zhenan.telemetry.gateway.http import unpacked
from zhenan.telemetry.gateway.http_server import HttpLimits
from zhenan.telemetry.gateway.keys import Key, digest_of
from zhenan.telemetry.log import streams
from zhenan.telemetry.tests.gateway_support import gateway, log_of, point, readings_of

NOW = int(time.time()) * 1000
ROWS = [point("mqtt_json", "dev-1", 1, "gas", 1, scale=2.0), point("mqtt_json", "dev-2", 2, "gas", 2)]
TOKEN, NARROW = "zk_test_everything", "zk_test_one_device"
KEYS = [
    Key(1, "city", digest_of(TOKEN), 1e9, 1e9),
    Key(2, "plant", digest_of(NARROW), 100, 10, frozenset({1})),
    Key(3, "old", digest_of("zk_test_old"), 1e9, 1e9, None, NOW - 1),
]


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 60))


def served(nats, rows=ROWS, keys=KEYS, **config):
    async def load_keys():
        return list(keys)

    return gateway(nats, rows, load_keys=load_keys, **{"ports": {"http": 0}, "mqtt": False, **config})


def body_of(*values, device="dev-1"):
    return json.dumps([{"d": device, "m": "gas", "t": NOW + n, "v": v} for n, v in enumerate(values)]).encode()


class Client:
    """One connection that speaks HTTP/1.1 by hand."""

    def __init__(self, port):
        self.port = port

    async def __aenter__(self):
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        return self

    async def __aexit__(self, *error):
        self.writer.close()

    async def answer(self):
        head = (await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 20)).decode()
        first, *lines = head.strip().split("\r\n")
        headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines if ": " in line)}
        body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return int(first.split()[1]), headers, json.loads(body) if body else None

    async def post(self, body, path="/ingest/json", token=TOKEN, method="POST", **headers):
        lines = {"Host": "x", "Content-Length": len(body), **({"Authorization": f"Bearer {token}"} if token else {}),
                 **{name.replace("_", "-"): text for name, text in headers.items()}}  # fmt: skip
        head = "".join(f"{name}: {text}\r\n" for name, text in lines.items())
        self.writer.write(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body)
        return await self.answer()


async def post(port, *given, **more):
    async with Client(port) as client:
        return await client.post(*given, **more)


async def refused(nats):
    return [row for m in await log_of(nats, stream=streams.QUARANTINE) for row in quarantine.unpack(m.data).rows]


def test_rows_that_were_answered_are_in_the_log_and_the_refused_are_named_and_kept(tmp_nats):
    body = json.dumps([{"d": "dev-1", "m": "gas", "t": NOW, "v": 3}, {"d": "nobody", "m": "gas", "t": NOW, "v": 3},
                       {"d": "dev-2", "m": "gas", "t": NOW, "v": "high"}]).encode()  # fmt: skip

    async def story():
        async with served(tmp_nats) as up:
            status, _, said = await post(up.port("http"), body)
            assert (status, said["taken"], said["refused"]) == (200, 1, 2)
            assert [(e["row"], e["reason"]) for e in said["errors"]] == [(1, "unknown_device"), (2, "value")]
            assert await readings_of(tmp_nats) == [(1, NOW, 6.0)]
            assert up.gateway.intake.totals == {"unknown_device": 1, "malformed_body": 1}
        kept = {(r.reason, r.device_key) for r in await refused(tmp_nats)}
        assert kept == {("unknown_device", "nobody"), ("malformed_body", "dev-2")}

    run(story())


def test_lines_columns_gzip_and_zstd_come_over_one_connection(tmp_nats):
    columns = Columns.of([1, 2], [NOW + 5, NOW + 5], [1.0, 2.0], [0, 0])

    async def story():
        async with served(tmp_nats) as up, Client(up.port("http")) as client:
            line = f"gas,device=dev-1 gas=1.5 {NOW}\ndev-2 gas=2i {NOW}".encode()
            assert (await client.post(line, "/ingest/line?precision=ms"))[2]["taken"] == 2
            assert (await client.post(columns.pack(), "/ingest/columns"))[2] == {"taken": 2, "refused": 0}
            packed = gzip.compress(body_of(7), mtime=0)
            assert (await client.post(packed, Content_Encoding="gzip"))[2]["taken"] == 1
            packed = pa.compress(body_of(8, device="dev-2"), codec="zstd", asbytes=True)
            assert (await client.post(packed, Content_Encoding="zstd"))[2]["taken"] == 1
            assert up.gateway.counters.get("connections", "http") == 1
        assert sorted(await readings_of(tmp_nats)) == [
            (1, NOW, 3.0), (1, NOW, 14.0), (1, NOW + 5, 1.0), (2, NOW, 2.0), (2, NOW, 8.0), (2, NOW + 5, 2.0),
        ]  # fmt: skip

    run(story())


def test_the_same_idempotency_key_gives_the_same_answer_and_stores_once_even_in_a_new_gateway(tmp_nats):
    body = body_of(1, 2)[:-1] + b', {"d": "nobody", "m": "gas", "v": 1}]'

    async def story():
        async with served(tmp_nats) as up:
            port = up.port("http")
            first = await post(port, body, Idempotency_Key="a-1")
            both = await asyncio.gather(*(post(port, body, Idempotency_Key="a-1") for _ in range(3)))
            assert all(answer[2] == first[2] for answer in both)
            assert (await post(port, body_of(9), Idempotency_Key="a-1"))[0] == 409
            # another key's holder may use the same words
            assert (await post(port, body_of(5), token=NARROW, Idempotency_Key="a-1"))[2]["taken"] == 1
        async with served(tmp_nats) as up:
            assert (await post(up.port("http"), body, Idempotency_Key="a-1"))[2] == first[2]
            assert up.gateway.intake.totals == {"unknown_device": 1}
        assert len(await readings_of(tmp_nats)) == 3

    run(story())


@pytest.mark.parametrize(
    ("more", "status", "code"),
    [
        ({"token": ""}, 401, "unauthorised"), ({"token": "zk_wrong"}, 401, "unauthorised"),
        ({"token": "zk_test_old"}, 401, "unauthorised"), ({"path": "/else"}, 404, "not_found"),
        ({"method": "GET"}, 405, "wrong_method"), ({"Content_Encoding": "br"}, 415, "unknown_encoding"),
        ({"body": b"[{"}, 400, "bad_request"), ({"body": b'{"d": 1}'}, 400, "bad_request"),
        ({"body": b"\xff\xfe"}, 400, "bad_request"), ({"body": b"x" * 5000}, 413, "too_large"),
        ({"body": b"not gzip", "Content_Encoding": "gzip"}, 400, "bad_request"),
        ({"body": b"not zstd", "Content_Encoding": "zstd"}, 400, "bad_request"),
        ({"body": b"ZNRC", "path": "/ingest/columns"}, 400, "bad_request"),
        ({"path": "/ingest/line?precision=min"}, 400, "bad_request"),
        ({"Idempotency_Key": "k" * 201}, 400, "bad_request"),
        ({"X_Long": "y" * 20_000}, 431, "head_too_large"),
    ],
)  # fmt: skip
def test_what_cannot_be_taken_is_refused_with_a_stable_code_and_stores_nothing(nats_url, tmp_nats, more, status, code):
    async def story():
        async with served(tmp_nats, http_limits=HttpLimits(body=4096)) as up:
            given = {"body": body_of(1), **more}
            found, _, said = await post(up.port("http"), given.pop("body"), **given)
            assert (found, said["code"]) == (status, code)
            assert said["detail"]
        assert await readings_of(tmp_nats) == []

    run(story())


def test_a_body_that_unpacks_to_too_much_is_refused_without_being_unpacked(tmp_nats):
    bomb = gzip.compress(bytes(40 * 1024 * 1024), mtime=0)
    with pytest.raises(ValueError, match="may unpack to"):
        unpacked(bomb, "gzip")
    with pytest.raises(ValueError, match="may unpack to"):
        unpacked(pa.compress(bytes(40 * 1024 * 1024), codec="zstd", asbytes=True), "zstd")
    with pytest.raises(ValueError, match="cut off"):
        unpacked(gzip.compress(b"abc" * 100)[:-4], "gzip")

    async def story():
        async with served(tmp_nats) as up:
            assert (await post(up.port("http"), bomb, Content_Encoding="gzip"))[0] == 413

    run(story())


def test_a_key_that_sends_too_much_is_told_when_to_come_again_and_others_are_heard(tmp_nats):
    async def story():
        async with served(tmp_nats) as up:
            port = up.port("http")
            assert (await post(port, body_of(*range(60)), token=NARROW))[0] == 200  # overdraws its burst of 10
            status, headers, said = await post(port, body_of(1), token=NARROW)
            assert (status, said["code"], headers["retry-after"]) == (429, "too_many", "1")
            assert (await post(port, body_of(1)))[0] == 200
            await asyncio.sleep(0.6)
            assert (await post(port, body_of(1), token=NARROW))[0] == 200

    run(story())


def test_a_revoked_key_ends_at_once_and_a_new_one_begins(tmp_nats):
    keys = list(KEYS)

    async def story():
        async with served(tmp_nats, keys=keys, keys_refresh_s=0.0, refresh_s=0.1) as up:
            port = up.port("http")
            assert (await post(port, body_of(1)))[0] == 200
            keys[:] = [Key(9, "new", digest_of("zk_new"), 1e9, 1e9)]
            await asyncio.sleep(0.4)
            assert (await post(port, body_of(1)))[0] == 401
            assert (await post(port, body_of(1), token="zk_new"))[0] == 200
            assert set(up.gateway.keys.take_used()) == {1, 9}

    run(story())


def test_a_request_a_byte_at_a_time_is_read_and_half_a_request_is_given_up(tmp_nats):
    head = f"POST /ingest/json HTTP/1.1\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: {len(body_of(1))}\r\n\r\n"

    async def story():
        async with served(tmp_nats, http_limits=HttpLimits(request_s=1.0, idle_s=0.5)) as up:
            async with Client(up.port("http")) as client:
                for byte in head.encode() + body_of(1):
                    client.writer.write(bytes((byte,)))
                    await asyncio.sleep(0.0005)
                assert (await client.answer())[2]["taken"] == 1
                assert await asyncio.wait_for(client.reader.read(), 3) == b""  # idle
            async with Client(up.port("http")) as client:
                client.writer.write(head.encode()[:40])
                assert (await client.answer())[0] == 408
        assert len(await readings_of(tmp_nats)) == 1

    run(story())


def test_garbage_ends_its_connection_and_too_many_connections_are_refused(tmp_nats):
    async def story():
        async with served(tmp_nats, http_limits=HttpLimits(connections=3)) as up:
            port = up.port("http")
            async with Client(port) as client:
                client.writer.write(b"\x16\x03\x01 this is no HTTP\r\n\r\n")
                assert (await client.answer())[0] == 400
                assert await asyncio.wait_for(client.reader.read(), 3) == b""
            await asyncio.sleep(0.1)
            async with Client(port), Client(port), Client(port):
                await asyncio.sleep(0.1)
                async with Client(port) as fourth:
                    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                        await fourth.post(body_of(1))
            await asyncio.sleep(0.1)
            assert (await post(port, body_of(1)))[0] == 200

    run(story())


def test_requests_sent_ahead_are_answered_in_their_order(tmp_nats):
    def request(n):
        body = body_of(*range(n))
        head = f"POST /ingest/json HTTP/1.1\r\nAuthorization: Token {TOKEN}\r\nContent-Length: {len(body)}\r\n\r\n"
        return head.encode() + body

    async def story():
        async with served(tmp_nats) as up, Client(up.port("http")) as client:
            client.writer.write(b"".join(request(n) for n in range(1, 9)))
            assert [(await client.answer())[2]["taken"] for _ in range(8)] == list(range(1, 9))

    run(story())


def test_while_the_log_is_away_nothing_is_answered_yes_and_the_same_key_later_stores_once(tmp_nats):
    async def story():
        async with served(tmp_nats) as up:
            up.gateway.http.patience_s = 0.5
            port = up.port("http")
            assert (await post(port, body_of(1), Idempotency_Key="k"))[0] == 200
            tmp_nats.kill()
            status, headers, _ = await post(port, body_of(1, 2), Idempotency_Key="k2")
            assert (status, headers["retry-after"]) == (503, "2")
            await asyncio.to_thread(tmp_nats.start)
            up.gateway.http.patience_s = 20
            assert (await post(port, body_of(1, 2), Idempotency_Key="k2"))[2] == {"taken": 2, "refused": 0}
        assert len(await readings_of(tmp_nats)) == 3

    run(story())


@pytest.mark.parametrize("lanes", [1, 4])
def test_many_senders_lose_and_double_nothing_over_kills_of_broker_and_gateway(tmp_nats, lanes):
    """Each sender repeats a request, with its key, until it hears 200."""
    devices, requests, size = 6, 12, 200
    rows = [point("mqtt_json", f"s{n}", n * 11, "gas", n) for n in range(1, devices + 1)]
    where = {}

    async def sender(n):
        for k in range(requests):
            at = NOW - (k + 1) * 1_000_000
            body = json.dumps([{"d": f"s{n}", "m": "gas", "t": at + i, "v": i} for i in range(size)]
                              + [{"d": "nobody", "m": "gas", "t": at, "v": 1}]).encode()  # fmt: skip
            while True:
                try:
                    status, _, said = await asyncio.wait_for(post(where["port"], body, Idempotency_Key=f"{n}-{k}"), 3)
                except (OSError, asyncio.IncompleteReadError, TimeoutError):
                    status = 0
                if status == 200:
                    assert (said["taken"], said["refused"]) == (size, 1)
                    break
                await asyncio.sleep(0.05)
            await asyncio.sleep(0.05)

    async def gateways():
        for wait_s in (0.5, 0.4, 0.6):
            async with served(tmp_nats, rows, lanes=lanes) as up:
                where["port"] = up.port("http")
                await asyncio.sleep(wait_s)
                tmp_nats.kill()
                await asyncio.sleep(0.1)
                for task in up.gateway._tasks:  # without any farewell
                    task.cancel()
                for connection in list(up.gateway.http.server.open):
                    connection.abort()
            await asyncio.to_thread(tmp_nats.start)
        async with served(tmp_nats, rows, lanes=lanes) as up:
            where["port"] = up.port("http")
            await senders
            return dict(up.gateway.intake.totals)

    async def story():
        nonlocal senders
        where["port"] = 1
        senders = asyncio.gather(*(sender(n) for n in range(1, devices + 1)))
        totals = await gateways()
        assert totals == {"unknown_device": devices * requests}
        found = await readings_of(tmp_nats)
        assert len(found) == devices * requests * size
        assert len(set(found)) == len(found)

    senders = None
    run(story())


def test_points_of_many_requests_keep_their_order_in_the_log(tmp_nats):
    async def story():
        async with served(tmp_nats) as up, Client(up.port("http")) as client:
            for k in range(20):
                values = Columns.of([1] * 50, np.arange(50) + NOW - 10_000 + k * 50, np.arange(50.0), [0] * 50)
                assert (await client.post(values.pack(), "/ingest/columns"))[0] == 200
        found = await readings_of(tmp_nats)
        assert [r[1] for r in found] == list(range(NOW - 10_000, NOW - 9_000))

    run(story())
