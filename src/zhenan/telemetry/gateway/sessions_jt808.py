"""Vehicle terminals: register, authenticate, report; long messages joined, files of alarms and cameras fetched."""

from __future__ import annotations

import hashlib
import hmac
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from zhenan.telemetry.codecs import jt808, jt808_commands
from zhenan.telemetry.codecs.base import Decoded, Splitter
from zhenan.telemetry.codecs.commands import Command, Said
from zhenan.telemetry.gateway import quarantine
from zhenan.telemetry.gateway.attachments import NUMBER_TIME, Address, number_of
from zhenan.telemetry.gateway.downlink import Downlink, Order
from zhenan.telemetry.gateway.message_key import key_of, location_key
from zhenan.telemetry.gateway.registry import Registry
from zhenan.telemetry.gateway.sessions import Taken, Wired

AGAIN_MS: Final = 10_000  # T: a request of ours that was not answered goes out again after T, T·2, T·2·3
TIMES: Final = 3
MAX_REQUESTS: Final = 64  # of one connection that wait for an answer
MAX_ASKED: Final = 1000
MEDIA: Final = "0x0801"


@dataclass
class _Request:
    """A 0x9208 that the terminal has not yet said yes to."""

    frame: bytes
    sent_ms: int
    times: int = 1


class Media(msgspec.Struct, frozen=True):
    """A picture, sound or film that a terminal sent by itself (0x0801)."""

    device_key: str
    media_id: int
    kind: int
    format: int
    event: int
    channel: int
    place: Decoded
    data: bytes


class Jt808(Wired):
    """One terminal's connection.

    A terminal's code is made from the platform's secret and its phone, so that it is good in every gateway process
    and after every restart; a registered terminal that kept a code of an earlier platform registers again.

    Args:
        files: where terminals bring the files of their active-safety alarms; None: they are not asked for.
        media: takes a multimedia message once it is whole; False: not now, the terminal shall keep it.
    """

    protocol = "jt808"

    def __init__(
        self, registry: Registry, secret: bytes, reassembler: jt808.Reassembler, downlink: Downlink | None = None,
        *, files: Address | None = None, media: Callable[[Media], bool] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(registry, downlink)
        self.secret, self.reassembler, self.files, self.media = secret, reassembler, files, media
        self.splitter: Splitter = jt808.Splitter()
        self.signed_in: set[str] = set()
        self._serial = 0
        self._requests: dict[int, _Request] = {}
        self._asked: dict[str, None] = {}  # numbers of alarms whose files were asked for on this connection
        self._phone = ""

    def closed(self) -> None:
        """The connection has ended. What came of a long message stays a minute: the terminal may go on with it."""
        super().closed()
        self._requests.clear()

    def take(self, raw: bytes, now_ms: int) -> Taken:
        packet = jt808.read_packet(raw)
        head = jt808.decode_packet(packet)
        identity = jt808.device_key(head)
        taken = Taken(identity, self.registry.find(self.protocol, identity), decoded=head, kind=head["msg_id"])
        if head["msg_id"] == "0x0100":
            self._register(taken, head)
        elif head["msg_id"] == "0x0102":
            self._sign_in(taken, head)
        elif head["msg_id"] == "0x0001":
            self._answer(taken, head)  # never answered itself
        else:
            self._message(taken, packet, now_ms)
            if taken.key is not None and head["msg_id"] == "0x0200" and packet.header.packet is None:
                taken.key = location_key(raw)
        return taken

    def code_of(self, phone: str) -> str:
        """The authentication code of a terminal."""
        digits = phone.lstrip("0").lower().encode("ascii", "replace")
        return hmac.new(self.secret, digits, hashlib.sha256).hexdigest()[:16]

    def next_serial(self) -> int:
        """Of our next message on this connection."""
        self._serial = self._serial + 1 & 0xFFFF
        return self._serial

    def _register(self, taken: Taken, decoded: Decoded) -> None:
        if taken.device is None:
            taken.problem = (quarantine.UNKNOWN, "asks to be registered")
            taken.key = key_of(self.protocol, jt808.message_key(decoded))
            taken.reply = jt808.register_response(decoded, self.next_serial(), 4)
        else:
            taken.reply = jt808.register_response(decoded, self.next_serial(), 0, self.code_of(taken.identity))

    def _sign_in(self, taken: Taken, decoded: Decoded) -> None:
        code = str(decoded.get("body", {}).get("auth_code", ""))
        good = taken.device is not None and hmac.compare_digest(
            code.encode("utf-8", "replace"), self.code_of(taken.identity).encode()
        )
        if good:
            self.signed_in.add(taken.identity)
            self._phone = self._phone or taken.identity
            self.at_hand(taken.device, decoded)
        elif taken.device is None:
            taken.problem = (quarantine.UNKNOWN, "asks to sign in")
            taken.key = key_of(self.protocol, jt808.message_key(decoded))
        else:
            taken.problem = (quarantine.IDENTITY, "wrong authentication code")
            taken.key = key_of(self.protocol, jt808.message_key(decoded))
        taken.reply = jt808.general_response(decoded, self.next_serial(), jt808.OK if good else jt808.FAILED)

    def _answer(self, taken: Taken, decoded: Decoded) -> None:
        if taken.identity not in self.signed_in:
            return
        serial = jt808_commands.key_of(decoded)
        if serial is not None:
            self._requests.pop(serial, None)
            self.heard(serial, decoded)

    def _message(self, taken: Taken, packet: jt808.Packet, now_ms: int) -> None:
        head = taken.decoded or {}
        if taken.identity not in self.signed_in:
            taken.reply = jt808.general_response(head, self.next_serial(), jt808.FAILED)
            taken.kind = "not_signed_in"
            return
        self.at_hand(taken.device, head)
        whole = packet if packet.header.encrypt else self.reassembler.add(packet, now_ms)
        if whole is None:
            # Said yes to from memory, for the terminal goes on only then: what a killed gateway forgets is asked for
            # again (0x8003), and the last part, without which nothing is whole, is answered from the disk.
            taken.reply = jt808.general_response(head, self.next_serial())
            return
        decoded = taken.decoded = head if whole is packet else jt808.decode_packet(whole)
        taken.readings = jt808.readings(decoded, now_ms)
        if "body_error" in decoded or decoded.get("encrypt"):
            taken.problem = (quarantine.BODY, str(decoded.get("body_error") or "encrypted"))
        answers = jt808_commands.key_of(decoded)
        if answers is not None and self.heard(answers, decoded):
            taken.kind = "answer"
        taken.reply = self._reply(taken, decoded, head, whole, now_ms)
        if taken.readings or taken.problem:
            taken.key = key_of(self.protocol, jt808.message_key(decoded))

    def _reply(
        self, taken: Taken, decoded: Decoded, head: Decoded, whole: jt808.Packet, now_ms: int
    ) -> bytes:  # fmt: skip
        """0x8001, and behind it what the message makes us ask for."""
        result = jt808.result_for(decoded)
        alarm = decoded.get("body", {}).get("alarm", 0) if head["msg_id"] == "0x0200" else 0
        if result == jt808.OK and alarm & jt808.LATCHED_ALARMS:
            result = jt808.ALARM_HANDLED
        frames = [jt808.general_response(head, self.next_serial(), result)]
        if result in (jt808.OK, jt808.ALARM_HANDLED):
            if head["msg_id"] == MEDIA and "body" in decoded:
                frames += self._take_media(taken, decoded, whole)
            frames += self._ask_files(taken, decoded, now_ms)
        return b"".join(frames)

    def _take_media(self, taken: Taken, decoded: Decoded, whole: jt808.Packet) -> list[bytes]:
        """0x8800 once the file is kept: the terminal may then delete it."""
        body = decoded["body"]
        if self.media is None or taken.device is None:
            return []
        media = Media(
            taken.device.key, body["media_id"], body["media_type"], body["format"], body["event"], body["channel"],
            body["location"], whole.body[jt808.MEDIA_HEAD :],
        )  # fmt: skip
        if not self.media(media):
            return []
        header = jt808.reply_header(decoded, 0x8800, self.next_serial())
        return [jt808_commands.media_done(header, body["media_id"])]

    def _ask_files(self, taken: Taken, decoded: Decoded, now_ms: int) -> list[bytes]:
        """0x9208 for each active-safety alarm of the message that has files, once a connection."""
        if self.files is None:
            return []
        frames = []
        for key, dialect in jt808.files_promised(decoded):
            number = number_of(self.secret, taken.identity, key, now_ms)
            seen = number[NUMBER_TIME:]
            if seen in self._asked or len(self._requests) >= MAX_REQUESTS:
                continue
            self._asked[seen] = None
            if len(self._asked) > MAX_ASKED:
                del self._asked[next(iter(self._asked))]
            serial = self.next_serial()
            frame = jt808.ask_files(
                jt808.reply_header(decoded, 0x9208, serial), ip=self.files.host, tcp_port=self.files.port, udp_port=0,
                alarm_key=key, alarm_no=number, dialect=dialect,
            )  # fmt: skip
            self._requests[serial] = _Request(frame, now_ms)
            frames.append(frame)
        return frames

    def due(self, now_ms: int) -> Sequence[bytes]:
        """Parts of long messages that do not come are asked for (0x8003), and files that were not promised."""
        frames = []
        for lacking in self.reassembler.ask(self._phone, now_ms):
            header = jt808.reply_header(
                jt808.header_fields(jt808.Packet(lacking.header, b"")), 0x8003, self.next_serial()
            )
            frames.append(jt808.ask_again(header, lacking.first_serial, lacking.missing))
        for serial, request in list(self._requests.items()):
            if now_ms - request.sent_ms < AGAIN_MS * math.factorial(request.times):
                continue
            if request.times > TIMES:
                del self._requests[serial]
                continue
            request.sent_ms, request.times = now_ms, request.times + 1
            frames.append(request.frame)
        return frames

    def ask(self, command: Command, order: Order, now_ms: int) -> tuple[Any, bytes]:
        """The frame of an order, under the next serial of ours."""
        serial = self.next_serial()
        return serial, jt808_commands.write(command, order.args, serial=serial, last=self.last, now_ms=now_ms)

    def said(self, command: Command, decoded: Decoded) -> Said | None:
        """What a message says to an order."""
        return jt808_commands.said(command, decoded)
