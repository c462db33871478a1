"""An HJ 212 logger under a wrong password: not answered, counted, kept; and taken once the register is put right."""

import asyncio
import time

import pytest

from zhenan.telemetry.codecs import hj212
from zhenan.telemetry.codecs.base import local_from_ms
from zhenan.telemetry.gateway import quarantine
from zhenan.telemetry.log import streams
from zhenan.telemetry.tests.gateway_support import gateway, log_of, point, readings_of

NOW = int(time.time()) * 1000


def upload(password, at_ms=NOW):
    local = local_from_ms(at_ms)
    factors = {"a01001": {"Rtd": "21.5", "Flag": "N"}}
    stamp = f"{local:%Y%m%d%H%M%S}"
    return hj212.upload(qn=hj212.write_qn(local), st="22", mn="MN1", data_time=stamp, factors=factors, pw=password)


async def sent(port, frame, *, wait_s):
    """What the gateway answers within the time; b"" for nothing."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(frame)
    try:
        return await asyncio.wait_for(reader.read(999), wait_s)
    except TimeoutError:
        return b""
    finally:
        writer.close()


def test_a_wrong_password_is_not_answered_and_the_same_frame_is_taken_once_the_register_is_right(tmp_nats):
    rows = [point("hj212", "MN1", 8, "a01001.Rtd", 2, password="654321")]

    async def story():
        async with gateway(tmp_nats, rows, mqtt=False) as up:
            port, frame = up.port("hj212"), upload("123456")
            assert await sent(port, frame, wait_s=1) == b""
            assert await sent(port, frame, wait_s=0.5) == b""  # its resend: known, and kept once
            assert up.gateway.intake.totals["identity"] == 1
            assert hj212.parse(await sent(port, upload("654321", NOW - 60_000), wait_s=5))["fields"]["CN"] == "9014"
            rows[0].password = "123456"
            up.rows.append(point("hj212", "MN2", 9, "a01001.Rtd", 3))  # another stamp: the register is read again
            up.gateway.changed.set()
            while up.gateway.registry.find("hj212", "MN1").password != "123456":
                await asyncio.sleep(0.02)
            assert hj212.parse(await sent(port, frame, wait_s=5))["fields"]["CN"] == "9014"

    asyncio.run(asyncio.wait_for(story(), 60))
    assert asyncio.run(readings_of(tmp_nats)) == [(2, NOW - 60_000, 21.5), (2, NOW, 21.5)]
    kept = asyncio.run(log_of(tmp_nats, stream=streams.QUARANTINE))
    refusals = [refusal for message in kept for refusal in quarantine.unpack(message.data).rows]
    (refusal,) = [one for one in refusals if one.reason == quarantine.IDENTITY]
    assert (refusal.device_key, refusal.detail) == ("MN1", "wrong password (PW)")
    assert refusal.raw.startswith(b"##")


@pytest.mark.parametrize(("city", "answered"), [("", True), ("123456", True), ("999999", False)])
def test_a_device_without_a_password_of_its_own_has_the_citys_or_none(tmp_nats, city, answered):
    async def story():
        rows = [point("hj212", "MN1", 8, "a01001.Rtd", 2)]
        async with gateway(tmp_nats, rows, mqtt=False, hj212_password=city) as up:
            return await sent(up.port("hj212"), upload("123456"), wait_s=5 if answered else 1)

    assert bool(asyncio.run(asyncio.wait_for(story(), 60))) == answered
