"""Commands over MQTT: published with QoS 1, so that the broker keeps one for a device that is away and has a session.

A message of QoS 1 must be published over MQTT: what comes from the broker's own side is passed on with QoS 0. What the
broker keeps for sessions is in its stream, under the command's own subject. That is looked at before anything is sent
again, so that a device that comes back gets its command once; and what has ended meanwhile is taken out of it, so that
none comes a week later.
"""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final
from urllib.parse import SplitResult, unquote, urlsplit

import msgspec
import paho.mqtt.client as paho
import structlog
from nats.aio.client import Client
from nats.js.errors import NotFoundError

from zhenan.domains.monitoring.commands import Outgoing

log = structlog.get_logger("zhenan.commands")
KEPT: Final = "$MQTT_msgs", "$MQTT.msgs."  # (stream, prefix of its subjects): for sessions, until they have it
RETAINED: Final = "$MQTT_rmsgs", "$MQTT.rmsgs."  # and for whoever subscribes
COMMANDS: Final = "d.*.down.cmd.*"
ANSWER_S: Final = 5.0
IN_FLIGHT: Final = 1000
REMEMBERED: Final = 100_000


class Refused(OSError):
    """The broker does not let us in over MQTT."""


def topic_of(one: Outgoing) -> str:
    return f"d/{one.key}/down/cmd/{one.id}"


def subject_of(one: Outgoing) -> str:
    """The same as the broker writes it: a dot inside a topic level is //."""
    return f"d.{one.key.replace('.', '//')}.down.cmd.{one.id}"


def body_of(one: Outgoing) -> bytes:
    return msgspec.json.encode(one.payload | {"id": one.id})


def number_in(subject: str) -> int:
    """The command that a subject names; 0 for none of ours."""
    number = subject.rpartition(".")[2]
    return int(number) if number.isascii() and number.isdigit() and len(number) < 19 else 0


class Publisher:
    """Publishes over MQTT with QoS 1. A connection that fails is given up with all that it was about to send."""

    def __init__(self, mqtt_url: str, nats_url: str) -> None:
        self._where = urlsplit(mqtt_url)
        ours = urlsplit(nats_url.split(",")[0])  # the platform's own user: a device's may not send commands
        self._who: SplitResult = ours if ours.username else self._where
        self._client: paho.Client | None = None
        self._waiting: dict[int, asyncio.Future[None]] = {}

    async def publish(self, messages: Sequence[tuple[str, bytes, bool]]) -> None:
        """(topic, body, retained) of each. Returns when the broker has them all; raises OSError when it does not."""
        loop = asyncio.get_running_loop()
        client = self._client
        if client is None or not client.is_connected():
            await asyncio.to_thread(self.stop)
            client = self._client = await asyncio.to_thread(self._connect, loop)
        waiting: list[asyncio.Future[None]] = []
        try:
            for topic, body, retained in messages:
                info = client.publish(topic, body, qos=1, retain=retained)
                if info.rc != paho.MQTT_ERR_SUCCESS:
                    raise OSError(f"MQTT: {paho.error_string(info.rc)}")
                waiting.append(self._waiting.setdefault(info.mid, loop.create_future()))
            await asyncio.wait_for(asyncio.gather(*waiting), ANSWER_S)
        except (OSError, TimeoutError) as err:
            await asyncio.to_thread(self.stop)  # lest it sends later what its sender has sent otherwise by then
            raise OSError(f"MQTT: {err or 'the broker does not answer'}") from err
        finally:
            self._waiting.clear()

    def _connect(self, loop: asyncio.AbstractEventLoop) -> paho.Client:
        client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=f"zhenan-commands-{uuid.uuid4().hex[:12]}")
        if self._who.username:
            client.username_pw_set(unquote(self._who.username), unquote(self._who.password or ""))
        client.max_inflight_messages_set(IN_FLIGHT)
        answered, reasons = threading.Event(), list[Any]()

        def connected(_client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
            reasons.append(reason)
            answered.set()

        def published(_client: Any, _data: Any, mid: int, *_more: Any) -> None:
            loop.call_soon_threadsafe(self._acknowledged, mid)

        client.on_connect = connected
        client.on_publish = published
        client.connect(self._where.hostname or "127.0.0.1", self._where.port or 1883, keepalive=30)
        client.loop_start()
        if not answered.wait(ANSWER_S) or reasons[0].is_failure:
            client.disconnect()
            client.loop_stop()
            raise Refused(f"MQTT: {reasons[0] if reasons else 'no answer'}")
        return client

    def _acknowledged(self, mid: int) -> None:
        waiting = self._waiting.get(mid)
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    def stop(self) -> None:
        """End the connection; what was not acknowledged is not sent again."""
        client, self._client = self._client, None
        if client is not None:
            client.disconnect()
            client.loop_stop()


class Delivery:
    """What of the commands is with the broker: sent once, not again while it keeps them, taken back when they end."""

    def __init__(self, client: Client, publisher: Publisher | None) -> None:
        self.client, self.publisher = client, publisher
        self.js = client.jetstream(timeout=5)
        self._kept: dict[int, None] = {}  # commands that the broker was seen to keep for a device that was away

    async def send(self, due: Sequence[Outgoing]) -> tuple[list[int], list[int]]:
        """(commands that are with the broker now, commands that their device has taken from it)."""
        if self.publisher is None or not due:
            await self._at_most_once(due)
            return [one.id for one in due], []
        kept = set(await self._numbers(KEPT))
        taken = [one.id for one in due if one.id in self._kept and one.id not in kept]
        for number in taken:
            del self._kept[number]
        fresh = [one for one in due if one.id not in kept and one.id not in taken]
        if fresh:
            try:
                await self.publisher.publish([(topic_of(one), body_of(one), one.retained) for one in fresh])
            except Refused as err:
                log.warning("commands.mqtt_refused", error=str(err), told="with QoS 0")
                await self._at_most_once(fresh)
            kept |= set(await self._numbers(KEPT))
        self._remember(one.id for one in due if one.id in kept)
        return [one.id for one in due if one.id not in taken], taken

    def _remember(self, numbers: Iterable[int]) -> None:
        self._kept |= dict.fromkeys(numbers)
        while len(self._kept) > REMEMBERED:
            del self._kept[next(iter(self._kept))]

    async def _at_most_once(self, due: Sequence[Outgoing]) -> None:
        """Straight to whoever is connected."""
        for one in due:
            await self.client.publish(subject_of(one), body_of(one))
        await self.client.flush(timeout=5)

    async def take_back(self, over: Callable[[list[int]], Awaitable[set[int]]]) -> int:
        """Take out of the broker the commands of which `over` says that they have ended. Returns how many."""
        kept, retained = await self._numbers(KEPT), await self._numbers(RETAINED)
        if not kept and not retained:
            return 0
        ended = await over(sorted({*kept, *retained}))
        for number in ended & kept.keys():
            await self.js.purge_stream(KEPT[0], subject=KEPT[1] + kept[number])
            self._kept.pop(number, None)
        # The protocol's own way: an empty message ends one that is retained, on every server of a cluster.
        gone = [retained[number] for number in sorted(ended & retained.keys())]
        if gone and self.publisher is not None:
            topics = [subject.replace("//", "\0").replace(".", "/").replace("\0", ".") for subject in gone]
            await self.publisher.publish([(topic, b"", True) for topic in topics])
        return len(ended)

    async def _numbers(self, where: tuple[str, str]) -> dict[int, str]:
        """command → its subject, of those that the broker keeps."""
        stream, prefix = where
        try:
            info = await self.js.stream_info(stream, subjects_filter=prefix + COMMANDS)
        except NotFoundError:  # no MQTT device has ever been there
            return {}
        subjects = [subject.removeprefix(prefix) for subject in info.state.subjects or ()]
        return {number: subject for subject in subjects if (number := number_in(subject))}
