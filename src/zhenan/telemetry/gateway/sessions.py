"""What each TCP protocol does with a frame: whom it is from, what it says, what to answer once it is on disk."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Final, Protocol

import msgspec

from zhenan.telemetry.codecs import gb26875, hj212, jt808
from zhenan.telemetry.codecs.base import Decoded, MessageKey, Reading, Splitter
from zhenan.telemetry.gateway import quarantine
from zhenan.telemetry.gateway.registry import Device, Registry

DIGEST: Final = 8


@dataclass
class Taken:
    """One good frame, understood. `reply` goes out once the frame's content is on disk.

    `problem`: (reason, detail) when the content could not be taken; the raw frame is then kept.
    `key`: None for frames that carry nothing to store, such as heartbeats.
    """

    identity: str
    device: Device | None
    reply: bytes | None = None
    readings: list[Reading] = field(default_factory=list)
    key: bytes | None = None
    problem: tuple[str, str] | None = None
    decoded: Decoded | None = None
    kind: str = ""


class Session(Protocol):
    """One connection's protocol state."""

    protocol: str
    splitter: Splitter

    def take(self, raw: bytes, now_ms: int) -> Taken:
        """Understand one frame. Raises CodecError when it is not a good frame after all."""
        ...


def key_of(protocol: str, key: MessageKey) -> bytes:
    """The message key as the log carries it."""
    return hashlib.blake2b(msgspec.msgpack.encode((protocol, key)), digest_size=DIGEST).digest()


class Gb26875:
    """User information transmission devices. No registration: whoever is registered here may report."""

    protocol = "gb26875"

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.splitter: Splitter = gb26875.Splitter()

    def take(self, raw: bytes, now_ms: int) -> Taken:
        decoded = gb26875.parse(raw)
        identity = gb26875.device_key(decoded)
        taken = Taken(identity, self.registry.find(self.protocol, identity), decoded=decoded)
        taken.kind = str(decoded.get("adu", {}).get("type_flag", "")) or f"cmd{decoded['cmd']}"
        if gb26875.needs_confirm(decoded):
            taken.reply = gb26875.confirm(decoded, now_ms)
        elif decoded["cmd"] == gb26875.REQUEST:
            taken.reply = gb26875.deny(decoded, now_ms)  # a device asks for nothing that we have
        taken.readings = gb26875.readings(decoded, now_ms)
        error = decoded.get("adu", {}).get("adu_error")
        if error:
            taken.problem = (quarantine.BODY, str(error))
        if taken.device is None:
            taken.problem = (quarantine.UNKNOWN, str(error or ""))
        if taken.readings or taken.problem:
            taken.key = key_of(self.protocol, gb26875.message_key(decoded))
        return taken


class Hj212:
    """Gas and environment loggers."""

    protocol = "hj212"

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.splitter: Splitter = hj212.Splitter(max_segment=8192)

    def take(self, raw: bytes, now_ms: int) -> Taken:
        decoded = hj212.parse(raw, max_segment=8192)
        identity = hj212.device_key(decoded)
        taken = Taken(identity, self.registry.find(self.protocol, identity), decoded=decoded)
        taken.kind = str(decoded["fields"].get("CN", ""))
        taken.readings = hj212.readings(decoded, now_ms)
        if taken.device is None:
            taken.problem = (quarantine.UNKNOWN, "")  # the standard has no negative answer to an upload
        taken.reply = hj212.answer_for(decoded)
        if taken.readings or taken.problem:
            taken.key = key_of(self.protocol, hj212.message_key(decoded))
        return taken


class Jt808:
    """Vehicle terminals: register, authenticate, report.

    A terminal's code is made from the platform's secret and its phone, so that it is good in every gateway process
    and after every restart; a registered terminal that kept a code of an earlier platform registers again.
    """

    protocol = "jt808"

    def __init__(self, registry: Registry, secret: bytes, reassembler: jt808.Reassembler) -> None:
        self.registry, self.secret, self.reassembler = registry, secret, reassembler
        self.splitter: Splitter = jt808.Splitter()
        self.signed_in: set[str] = set()
        self._serial = 0

    def take(self, raw: bytes, now_ms: int) -> Taken:
        packet = jt808.read_packet(raw)
        head = jt808.decode_packet(packet)
        identity = jt808.device_key(head)
        taken = Taken(identity, self.registry.find(self.protocol, identity), decoded=head, kind=head["msg_id"])
        if head["msg_id"] == "0x0100":
            self._register(taken, head)
        elif head["msg_id"] == "0x0102":
            self._sign_in(taken, head)
        elif head["msg_id"] != "0x0001":  # the terminal's answer to us is never answered
            self._message(taken, packet, now_ms)
        return taken

    def code_of(self, phone: str) -> str:
        """The authentication code of a terminal."""
        digits = phone.lstrip("0").lower().encode("ascii", "replace")
        return hmac.new(self.secret, digits, hashlib.sha256).hexdigest()[:16]

    def _next(self) -> int:
        self._serial = self._serial + 1 & 0xFFFF
        return self._serial

    def _register(self, taken: Taken, decoded: Decoded) -> None:
        if taken.device is None:
            taken.problem = (quarantine.UNKNOWN, "asks to be registered")
            taken.key = key_of(self.protocol, jt808.message_key(decoded))
            taken.reply = jt808.register_response(decoded, self._next(), 4)
        else:
            taken.reply = jt808.register_response(decoded, self._next(), 0, self.code_of(taken.identity))

    def _sign_in(self, taken: Taken, decoded: Decoded) -> None:
        code = str(decoded.get("body", {}).get("auth_code", ""))
        good = taken.device is not None and hmac.compare_digest(
            code.encode("utf-8", "replace"), self.code_of(taken.identity).encode()
        )
        if good:
            self.signed_in.add(taken.identity)
        elif taken.device is None:
            taken.problem = (quarantine.UNKNOWN, "asks to sign in")
            taken.key = key_of(self.protocol, jt808.message_key(decoded))
        else:
            taken.problem = (quarantine.IDENTITY, "wrong authentication code")
        taken.reply = jt808.general_response(decoded, self._next(), jt808.OK if good else jt808.FAILED)

    def _message(self, taken: Taken, packet: jt808.Packet, now_ms: int) -> None:
        head = taken.decoded or {}
        if taken.identity not in self.signed_in:
            taken.reply = jt808.general_response(head, self._next(), jt808.FAILED)
            taken.kind = "not_signed_in"
            return
        whole = packet if packet.header.encrypt else self.reassembler.add(packet, now_ms)
        if whole is None:  # a part: the last one's answer stands for the whole message
            taken.reply = jt808.general_response(head, self._next())
            return
        decoded = taken.decoded = head if whole is packet else jt808.decode_packet(whole)
        taken.readings = jt808.readings(decoded, now_ms)
        result = jt808.result_for(decoded)
        if "body_error" in decoded or decoded.get("encrypt"):
            taken.problem = (quarantine.BODY, str(decoded.get("body_error") or "encrypted"))
        alarm = decoded.get("body", {}).get("alarm", 0) if head["msg_id"] == "0x0200" else 0
        if result == jt808.OK and alarm & jt808.LATCHED_ALARMS:
            result = jt808.ALARM_HANDLED
        taken.reply = jt808.general_response(head, self._next(), result)
        if taken.readings or taken.problem:
            taken.key = key_of(self.protocol, jt808.message_key(decoded))
