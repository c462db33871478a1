"""`zhenan simulate`: synthetic devices speak real protocols to the real gateway, in real time."""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import Counter, deque
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

import paho.mqtt.client as paho
import structlog

from zhenan.domains.monitoring import queries
from zhenan.server import config
from zhenan.server.processes import Process, addresses, run
from zhenan.server.processes.fleet import Fleet
from zhenan.server.processes.vehicles import Vehicle
from zhenan.telemetry.codecs import gb26875
from zhenan.telemetry.codecs.base import CodecError, Frame, local_from_ms
from zhenan.telemetry.codecs.gb26875 import PATROL
from zhenan.telemetry.codecs.gb26875_commands import GUARD_ANSWERED, OPERATION

log = structlog.get_logger("zhenan.simulator")
CENTRE = "000000000001"
ANSWER_S = 10.0  # of the standard: time-out 10 s, three resends
RESENDS = 3
GUARD_S = 6.0  # after which a simulated guard answers a patrol
QUEUE = 64  # frames a device holds while it has no connection; older ones go first


def main(argv: list[str]) -> int:
    """Simulate until a signal comes."""
    parser = argparse.ArgumentParser(prog="zhenan simulate", description=__doc__)
    parser.add_argument("--rate", type=float, default=0, metavar="N", help="readings a second (default: as they come)")
    parser.add_argument("--incidents", type=float, default=20, metavar="N", help="incidents an hour (default: 20)")
    parser.add_argument("--seed", type=int, default=config.number("ZHENAN_SEED", default=1))
    parser.add_argument("--gateway", default="", metavar="HOST:PORT", help="GB/T 26875.3 port (default: as announced)")
    asked = parser.parse_args(argv)
    return run("simulator", lambda process: _main(process, asked))


async def _main(process: Process, asked: argparse.Namespace) -> int:
    simulator = Simulator(process, asked)
    broker = addresses().mqtt_url
    mqtt = Mqtt(broker, simulator.counts) if broker else None
    simulator.mqtt = mqtt
    try:
        await process.until_stopped(simulator.run(), process.report(simulator.figures))
    finally:
        simulator.stop()
        if mqtt is not None:
            mqtt.stop()
    return 0


class Simulator:
    """One tick a second: what the devices measured since the last goes out."""

    def __init__(self, process: Process, asked: argparse.Namespace) -> None:
        self.process, self.asked = process, asked
        self.counts: Counter[str] = Counter()
        self.mqtt: Mqtt | None = None
        self.terminals: dict[str, Terminal] = {}
        self.vehicles: dict[str, Vehicle] = {}
        self.fleet: Fleet | None = None
        self._stamp = ""

    async def run(self) -> None:
        """For ever."""
        began = now_ms()
        incident_at = began + 15_000
        while True:
            fleet = await self._fleet()
            await asyncio.sleep(max(0.0, 1.0 - (now_ms() - began) / 1000))
            until = now_ms()
            if self.asked.incidents and until >= incident_at:
                incident_at = until + round(3_600_000 / self.asked.incidents)
                begun = await self.process.database(fleet.begin_incident, until)
                if begun:
                    self.counts["incidents"] += 1
                    log.info("simulator.incident", rule=begun[0], device=begun[1])
            self._send(fleet, began, until)
            began = until

    async def _fleet(self) -> Fleet:
        """The devices as they are registered now; loaded again when that changed."""
        if self.fleet is not None and now_ms() % 15_000 > 1_000:
            return self.fleet
        stamp = await self.process.database(queries.devices_stamp)
        if self.fleet is None or stamp.partition(":")[0] != self._stamp:
            self._stamp = stamp.partition(":")[0]
            self.fleet = await self.process.database(Fleet.load, self.asked.seed)
            if self.asked.rate:
                self.fleet.limit(self.asked.rate, now_ms())
            usual = round(self.fleet.usual_per_s(now_ms()), 2)
            log.info("simulator.fleet", points=len(self.fleet.points), usual_per_s=usual, share=self.fleet.share)
        return self.fleet

    def _send(self, fleet: Fleet, t0_ms: int, t1_ms: int) -> None:
        found = fleet.window(t0_ms, t1_ms, at_least_per_s=self.asked.rate)
        self.counts["readings"] += len(found.ts)
        if self.mqtt is not None:
            for key, samples in fleet.mqtt(found):
                self.mqtt.send(key, samples)
        for key, kind, objects in fleet.gb26875(found):
            terminal = self.terminals.get(key)
            if terminal is None:
                terminal = self.terminals[key] = Terminal(key, lambda: self.address("gb26875"), self.counts)
            most = 20 if kind == 2 else 60
            for at in range(0, len(objects), most):
                terminal.send(kind, objects[at : at + most])
        for about, key, place in fleet.jt808(found):
            vehicle = self.vehicles.get(key)
            if vehicle is None:
                vehicle = self.vehicles[key] = Vehicle(key, about, lambda: self.address("jt808"), self.counts)
            vehicle.report(place)

    def address(self, protocol: str) -> tuple[str, int] | None:
        """Where the gateway listens for a protocol; None while it does not run."""
        if self.asked.gateway and protocol == "gb26875":
            host, _, port = self.asked.gateway.rpartition(":")
            return host, int(port)
        try:
            told = json.loads((config.data_dir() / "run" / "gateway.json").read_text("utf-8"))
            return "127.0.0.1", int(told["ports"][protocol])
        except (FileNotFoundError, ValueError, KeyError):
            return None

    def stop(self) -> None:
        for terminal in self.terminals.values():
            terminal.stop()
        for vehicle in self.vehicles.values():
            vehicle.stop()

    def figures(self) -> Mapping[str, float]:
        return {**self.counts, "terminals": len(self.terminals), "vehicles": len(self.vehicles)}


class Mqtt:
    """One MQTT connection for all simulated devices (the embedded broker's devices share a user)."""

    def __init__(self, url: str, counts: Counter[str]) -> None:
        address = urlsplit(url)
        self.counts = counts
        self.client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="zhenan-simulator", clean_session=False)
        if address.username:
            self.client.username_pw_set(unquote(address.username), unquote(address.password or ""))
        self.client.max_queued_messages_set(100_000)
        self.client.reconnect_delay_set(1, 10)
        self.client.on_connect = lambda client, *_: client.subscribe("d/+/down/cmd/#", qos=1)
        self.client.on_message = self._told
        self.client.on_publish = lambda *_: self.counts.update(acknowledged=1)
        self.client.connect_async(address.hostname or "127.0.0.1", address.port or 1883, keepalive=30)
        self.client.loop_start()

    def send(self, key: str, samples: list[dict[str, Any]]) -> None:
        """Publish one device's samples, QoS 1."""
        body = samples[0] if len(samples) == 1 else samples
        self.client.publish(f"d/{key}/up/telemetry", json.dumps(body, separators=(",", ":")), qos=1)
        self.counts["mqtt_messages"] += 1

    def _told(self, _client: Any, _data: Any, message: Any) -> None:
        """A command: the device does it, and reports the state it is in now."""
        key = message.topic.split("/")[1]
        try:
            told = json.loads(message.payload)
        except ValueError:
            return
        values = {name: value for name, value in told.items() if name != "id"}
        if values:
            self.counts["commands"] += 1
            self.send(key, [{"ts": now_ms(), "values": values}])

    def stop(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


class Terminal:
    """One transmission device: a connection, and frames that are sent again until they are confirmed."""

    def __init__(self, key: str, address: Any, counts: Counter[str]) -> None:
        self.key, self.address, self.counts = key, address, counts
        self.serial = int(time.time()) & 0xFFFF
        self.waiting: deque[bytes] = deque()
        self.some = asyncio.Event()
        self.news = asyncio.Event()
        self.confirmed = -1  # serial of the frame confirmed last
        self.task = asyncio.create_task(self._run())

    def send(self, kind: int, objects: list[dict[str, Any]]) -> None:
        self.serial = self.serial + 1 & 0xFFFF
        if len(self.waiting) >= QUEUE:
            self.waiting.popleft()
            self.counts["dropped"] += 1
        self.waiting.append(gb26875.send(self.key, CENTRE, self.serial, kind, objects, now_ms()))
        self.some.set()

    def stop(self) -> None:
        self.task.cancel()

    async def _run(self) -> None:
        while True:
            address = self.address()
            if address is None:
                await asyncio.sleep(1.0)
                continue
            try:
                reader, writer = await asyncio.open_connection(*address)
            except OSError:
                await asyncio.sleep(1.0)
                continue
            try:
                await self._talk(reader, writer)
            except (OSError, TimeoutError, asyncio.IncompleteReadError):
                self.counts["reconnects"] += 1
            finally:
                writer.close()
            await asyncio.sleep(0.5)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Frame by frame; the one in hand stays first in line until it is confirmed or given up."""
        listening = asyncio.create_task(self._listen(reader, writer))
        try:
            while True:
                self.some.clear()
                while not self.waiting:
                    await self._unless_gone(self.some, listening, 3600)
                frame = self.waiting[0]
                for attempt in range(1 + RESENDS):
                    writer.write(frame)
                    self.counts["frames"] += 1
                    if await self._confirmed(frame, listening):
                        break
                    self.counts["resent" if attempt < RESENDS else "given_up"] += 1
                if self.waiting and self.waiting[0] is frame:
                    self.waiting.popleft()
        finally:
            listening.cancel()

    async def _unless_gone(self, news: asyncio.Event, listening: asyncio.Task[None], wait_s: float) -> None:
        """Wait for news, for so long; raises what ended the connection meanwhile."""
        waiting = asyncio.create_task(news.wait())
        try:
            await asyncio.wait({waiting, listening}, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        if listening.done():
            listening.result()

    async def _confirmed(self, frame: bytes, listening: asyncio.Task[None]) -> bool:
        serial = frame[2] | frame[3] << 8
        deadline = time.monotonic() + ANSWER_S
        while (left := deadline - time.monotonic()) > 0:
            if self.confirmed == serial:
                self.counts["confirmed"] += 1
                return True
            self.news.clear()
            await self._unless_gone(self.news, listening, left)
        return False

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """What the platform says: confirms, and orders, which are obeyed."""
        splitter = gb26875.Splitter()
        while data := await reader.read(4096):
            for item in splitter.feed(data):
                try:
                    heard = gb26875.parse(item.raw) if isinstance(item, Frame) else {}
                except CodecError:
                    continue
                if heard.get("cmd") == gb26875.CONFIRM:
                    self.confirmed = heard["serial"]
                    self.news.set()
                elif heard.get("cmd") in (gb26875.CONTROL, gb26875.REQUEST):
                    self.counts["orders"] += 1
                    writer.write(self._obey(heard))
        raise ConnectionResetError("the gateway hung up")

    def _obey(self, order: dict[str, Any]) -> bytes:
        """Confirm a control, answer what is asked of the device itself; a guard called presses the button soon."""
        kind, now = order.get("adu", {}).get("type_flag"), local_from_ms(now_ms())
        if order["cmd"] == gb26875.CONTROL:
            if kind == PATROL:
                guard = {"op": GUARD_ANSWERED, "operator": 1, "time": now}
                asyncio.get_running_loop().call_later(GUARD_S, self.send, OPERATION, [guard])
            return gb26875.confirm(order, now_ms())
        answers: dict[int, tuple[int, dict[str, Any]]] = {
            81: (21, {"status": 1, "time": now}), 85: (25, {"ver_major": 1, "ver_minor": 0}),
            86: (26, {"text": "模拟用户信息传输装置"}), 88: (28, {"time": now}),
        }  # fmt: skip
        if kind not in answers:
            return gb26875.deny(order, now_ms())
        return gb26875.answer(order, answers[kind][0], [answers[kind][1]], now_ms())


def now_ms() -> int:
    return time.time_ns() // 1_000_000
