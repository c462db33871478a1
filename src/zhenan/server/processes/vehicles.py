"""Simulated vehicle terminals: register, sign in, report, and do as the platform says, as JT/T 808 has it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Any, Final

from zhenan.telemetry.codecs import jt808
from zhenan.telemetry.codecs.base import CodecError, Decoded, Frame, local_from_ms

ANSWER_S: Final = 10.0  # then the frame goes out again, three times at most
RESENDS: Final = 3
QUEUE: Final = 360  # reports kept while there is no connection: an hour of driving; the oldest go first
BATCH: Final = 12  # of those that wait, sent at once (0x0704)
PAUSE_S: Final = 1.0
MAKER, MODEL = "ZNSIM", "ZN-SIM"
COLOURS: Final = {"blue": 1, "yellow": 2, "black": 3, "white": 4}
PROVINCE, CITY = 32, 1100  # of GB/T 2260: 321100

SPEED, ALARM = "speed_kmh", "alarm"  # channels of a location
SAFETY: Final = {"adas": 0x64, "dsm": 0x65}  # items of a location that carry an active-safety alarm
DRIVING, STANDING = 0b11, 0b10  # status words: positioned, with ignition or without
STARTS, ENDS = 1, 2

Address = Callable[[], tuple[str, int] | None]
Place = dict[str, Any]  # the fields of jt808.location_body


def location(
    key: str, ts_ms: int, there: tuple[float, float, float, float], alarm: int, news: Mapping[str, float]
) -> Place:
    """Fields of a location. `there`: latitude, longitude, km/h, heading. `news`: level by `adas.t1` …, 0 at the end."""
    lat, lon, speed, heading = there
    time_text = local_from_ms(ts_ms)
    items = []
    for number, (channel, level) in enumerate(sorted(news.items())):
        name, _, kind = channel.partition(".t")
        if name in SAFETY and kind.isdigit():
            flag = STARTS if level else ENDS
            identifier = {"terminal_id": key[-7:], "time": time_text, "seq": number, "attachments": 0}
            items.append(
                jt808.safety_item(
                    SAFETY[name], head=(int(kind), int(level) or 1, 0, 0, 0, 0, 0), alarm_id=number, flag=flag,
                    lat=lat, lon=lon, time=time_text, alarm_key=identifier, speed_kmh=min(255, round(speed)),
                )
            )  # fmt: skip
    status = DRIVING if speed > 0 else STANDING
    return {
        "lat": lat, "lon": lon, "time": time_text, "speed_kmh": speed, "direction": round(heading) % 360,
        "alarm": alarm, "status": status, "items": items,
    }  # fmt: skip


class Vehicle:
    """One terminal: a connection, and reports that are sent again until they are confirmed."""

    def __init__(self, key: str, about: Mapping[str, Any], address: Address, counts: Counter[str]) -> None:
        self.key, self.about, self.address, self.counts = key, about, address, counts
        self.waiting: deque[Place] = deque()
        self.some = asyncio.Event()
        self.last: Place | None = None
        self._heard: asyncio.Queue[Decoded] = asyncio.Queue()
        self._serial = int(time.time()) & 0xFFFF
        self.task = asyncio.create_task(self._run())

    def report(self, place: Place) -> None:
        if len(self.waiting) >= QUEUE:
            self.waiting.popleft()
            self.counts["dropped"] += 1
        self.waiting.append(place)
        self.last = place
        self.some.set()

    def stop(self) -> None:
        self.task.cancel()

    def _head(self, msg_id: int) -> jt808.Header:
        self._serial = self._serial + 1 & 0xFFFF
        version = 2019 if self.about.get("version") == 2019 else 2013
        phone = self.key.zfill(20 if version == 2019 else 12)
        return jt808.Header(msg_id=msg_id, phone=phone, serial=self._serial, version=version)

    async def _run(self) -> None:
        while True:
            while not self.waiting:  # a terminal in the yard needs no connection
                self.some.clear()
                await self.some.wait()
            address = self.address()
            try:
                if address is not None:
                    await self._connected(*await asyncio.open_connection(*address))
            except (OSError, TimeoutError):
                self.counts["reconnects"] += 1
            await asyncio.sleep(PAUSE_S)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._heard = asyncio.Queue()
        talking = asyncio.create_task(self._talk(writer))
        listening = asyncio.create_task(self._listen(reader, writer))
        try:
            await asyncio.wait({talking, listening}, return_when=asyncio.FIRST_COMPLETED)
            for task in (talking, listening):
                if task.done():
                    task.result()
        finally:
            talking.cancel()
            listening.cancel()
            writer.close()

    async def _talk(self, writer: asyncio.StreamWriter) -> None:
        """Sign in, then report by report; those in hand stay first in line until they are confirmed."""
        head = self._head(0x0100)
        plate = str(self.about.get("plate", ""))
        asked = jt808.register(
            head, province=PROVINCE, city=CITY, maker=MAKER, model=MODEL, terminal_id=self.key[-7:],
            plate_color=COLOURS.get(str(self.about.get("plate_colour", "yellow")), 9), plate=plate,
        )  # fmt: skip
        answer = await self._answered(writer, asked, head.serial)
        code = str(answer["body"].get("auth_code", ""))
        head = self._head(0x0102)
        answer = await self._answered(writer, jt808.auth(head, code, software="sim"), head.serial)
        if answer["body"].get("result") != 0:
            raise ConnectionRefusedError("not signed in")
        while True:
            while not self.waiting:
                self.some.clear()
                await self.some.wait()
            await self._send(writer)

    async def _send(self, writer: asyncio.StreamWriter) -> None:
        several = [self.waiting[n] for n in range(min(BATCH, len(self.waiting)))]
        if len(several) == 1:
            head = self._head(0x0200)
            frame = jt808.location(head, **several[0])
        else:  # what gathered while there was no connection
            head = self._head(0x0704)
            frame = jt808.batch(head, [jt808.location_body(**place) for place in several], backfill=True)
        answer = await self._answered(writer, frame, head.serial)
        if answer["body"].get("result") not in (jt808.OK, jt808.ALARM_HANDLED):
            self.counts["refused"] += len(several)
        for place in several:
            if self.waiting and self.waiting[0] is place:  # the queue may have let it go meanwhile
                self.waiting.popleft()
        self.counts["positions"] += len(several)

    async def _answered(self, writer: asyncio.StreamWriter, frame: bytes, serial: int) -> Decoded:
        """The platform's answer to a frame. Raises TimeoutError when there is none after some tries."""
        for attempt in range(1 + RESENDS):
            writer.write(frame)
            self.counts["frames"] += 1
            deadline = time.monotonic() + ANSWER_S
            while (left := deadline - time.monotonic()) > 0:
                try:
                    heard = await asyncio.wait_for(self._heard.get(), left)
                except TimeoutError:
                    break
                if heard["body"].get("reply_serial") == serial:
                    return heard
            self.counts["resent" if attempt < RESENDS else "given_up"] += 1
        raise TimeoutError(f"{self.key}: no answer to serial {serial}")

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """What the platform says: answers, and orders, which are obeyed."""
        splitter = jt808.Splitter()
        while data := await reader.read(4096):
            for item in splitter.feed(data):
                try:
                    heard = jt808.parse(item.raw) if isinstance(item, Frame) else {}
                except CodecError:
                    continue
                if heard.get("msg_id") in ("0x8001", "0x8100") and "body" in heard:
                    self._heard.put_nowait(heard)
                elif heard:
                    self.counts["orders"] += 1
                    writer.write(self._obey(heard))
        raise ConnectionResetError("the gateway hung up")

    def _obey(self, order: Decoded) -> bytes:
        """Say where it is when asked; agree to all else."""
        asked, serial = int(order["msg_id"], 16), int(order["serial"])
        if asked == 0x8201 and self.last is not None:
            return jt808.location_answer(self._head(0x0201), serial, **self.last)
        return jt808.terminal_response(self._head(0x0001), serial, asked)
