"""What each protocol does with a frame: whom it is from, what it says, what to answer once it is on disk."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import msgspec

from zhenan.telemetry.codecs import gb26875, gb26875_commands, hj212, hj212_commands
from zhenan.telemetry.codecs.base import Decoded, MessageKey, Reading, Splitter, local_from_ms
from zhenan.telemetry.codecs.commands import Command, Said
from zhenan.telemetry.gateway import quarantine
from zhenan.telemetry.gateway.downlink import Downlink, Link, Order, Told
from zhenan.telemetry.gateway.message_key import DIGEST, key_of
from zhenan.telemetry.gateway.registry import Device, Registry

__all__ = ["DIGEST", "Gb26875", "Hj212", "MessageKey", "Session", "Taken", "Wired", "key_of"]
HJ212_SEGMENT: Final = 8192


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

    @property
    def met(self) -> bool:
        """Whether a frame of the device went through `take`: before that it cannot be told anything."""
        ...

    def opened(self, write: Callable[[bytes], None], close: Callable[[], None]) -> None:
        """The connection stands: what is written goes to the device."""
        ...

    def closed(self) -> None:
        """The connection has ended."""
        ...

    def take(self, raw: bytes, now_ms: int) -> Taken:
        """Understand one frame. Raises CodecError when it is not a good frame after all."""
        ...


def _nothing(data: bytes = b"") -> None:
    """A session without a connection (a test, a replay) writes nowhere."""


class Wired:
    """What sessions share: the connection, and the orders that come down it. `downlink` None: no orders."""

    protocol = ""

    def __init__(self, registry: Registry, downlink: Downlink | None = None) -> None:
        self.registry, self.downlink = registry, downlink
        self.link: Link | None = None
        self.last: Decoded = {}  # a frame of the device, whose addresses and form our own frames repeat
        self._write: Callable[[bytes], None] = _nothing
        self._close: Callable[[], None] = _nothing

    def opened(self, write: Callable[[bytes], None], close: Callable[[], None]) -> None:
        """The connection stands: what is written goes to the device."""
        self._write, self._close = write, close

    def closed(self) -> None:
        """The connection has ended."""
        if self.downlink is not None and self.link is not None:
            self.downlink.gone(self.link)
        self.link = None

    @property
    def met(self) -> bool:
        return self.downlink is None or self.link is not None

    def due(self, now_ms: int) -> Sequence[bytes]:
        """Frames to send now without anyone having asked."""
        return ()

    def at_hand(self, device: Device | None, decoded: Decoded) -> None:
        """The device is on this connection: from now on it can be told things."""
        self.last = decoded
        if self.downlink is None or device is None or (self.link is not None and self.link.key == device.key):
            return
        if self.link is None:  # another identity later on the same connection is an event, not a device to be told
            self.link = self.downlink.here(self, device.key, self._write, self._close)  # type: ignore[arg-type]

    def heard(self, key: Any, decoded: Decoded) -> bool:
        """Whether the frame answers an order."""
        return self.downlink is not None and self.link is not None and self.downlink.heard(self.link, key, decoded)

    def says(self, state: str) -> None:
        """Pass on what the device says of itself."""
        if self.downlink is not None and self.link is not None:
            self.downlink.tell(Told(self.protocol, self.link.key, state))


class Gb26875(Wired):
    """User information transmission devices. No registration: whoever is registered here may report."""

    protocol = "gb26875"

    def __init__(self, registry: Registry, downlink: Downlink | None = None, *, hex_text: bool = False) -> None:
        super().__init__(registry, downlink)
        self.splitter: Splitter = gb26875.Splitter(hex_text=hex_text)
        self._hex_text = hex_text
        self._serial = 0

    def opened(self, write: Callable[[bytes], None], close: Callable[[], None]) -> None:
        """As ever; what goes out is written as it comes in, in hex text on such a listener."""
        super().opened((lambda data: write(data.hex().upper().encode())) if self._hex_text else write, close)

    def take(self, raw: bytes, now_ms: int) -> Taken:
        decoded = gb26875.parse(raw, lenient=True)
        identity = gb26875.device_key(decoded)
        taken = Taken(identity, self.registry.find(self.protocol, identity), decoded=decoded)
        taken.kind = str(decoded.get("adu", {}).get("type_flag", "")) or f"cmd{decoded['cmd']}"
        self.at_hand(taken.device, decoded)
        if gb26875.needs_confirm(decoded):
            taken.reply = gb26875.confirm(decoded, now_ms)
        elif decoded["cmd"] == gb26875.REQUEST:
            taken.reply = gb26875.deny(decoded, now_ms)  # a device asks for nothing that we have
        if taken.reply is not None and self._hex_text:
            taken.reply = taken.reply.hex().upper().encode()
        taken.readings = gb26875.readings(decoded, now_ms)
        self._answers(decoded)
        error = decoded.get("adu", {}).get("adu_error")
        if error:
            taken.problem = (quarantine.BODY, str(error))
        if taken.device is None:
            taken.problem = (quarantine.UNKNOWN, str(error or ""))
        if taken.readings or taken.problem:
            taken.key = key_of(self.protocol, gb26875.message_key(decoded))
        return taken

    def _answers(self, decoded: Decoded) -> None:
        key = gb26875_commands.key_of(decoded)
        if key is not None:
            self.heard(key, decoded)
        if gb26875_commands.guard_answered(decoded):
            self.says("guard")

    def ask(self, command: Command, order: Order, now_ms: int) -> tuple[int, bytes]:
        """The frame of an order, under the next serial of ours."""
        self._serial = self._serial + 1 & 0xFFFF
        return self._serial, gb26875_commands.write(
            command, order.args, serial=self._serial, last=self.last, now_ms=now_ms
        )

    def said(self, command: Command, decoded: Decoded) -> Said | None:
        """What a frame says to an order."""
        return gb26875_commands.said(command, decoded)


class Hj212(Wired):
    """Gas and environment loggers.

    A frame's password (PW) must be the device's own in the register, or else the city's; "" checks none. What comes
    under another is kept aside and not answered: the standard has no negative answer to an upload, and without a 9014
    the logger keeps its data.

    Args:
        password: the city's, of devices for which the register has none.
    """

    protocol = "hj212"

    def __init__(self, registry: Registry, downlink: Downlink | None = None, *, password: str = "") -> None:
        super().__init__(registry, downlink)
        self.password = password
        self.splitter: Splitter = hj212.Splitter(max_segment=HJ212_SEGMENT)
        self.joiner = hj212.Joiner()
        self._asked_ms = 0

    def take(self, raw: bytes, now_ms: int) -> Taken:
        decoded, skipped = hj212.parse_counted(raw, max_segment=HJ212_SEGMENT)
        identity = hj212.device_key(decoded)
        taken = Taken(identity, self.registry.find(self.protocol, identity), decoded=decoded)
        taken.kind = str(decoded["fields"].get("CN", ""))
        if taken.device is not None and not self._may_speak(taken.device, decoded):
            return self._refused(taken, decoded)
        self.at_hand(taken.device, decoded)
        if identity:
            self.heard(hj212_commands.key_of(decoded), decoded)
        taken.reply = hj212.answer_for(decoded)
        taken.readings = hj212.readings(self.joiner.add(decoded, now_ms), now_ms)
        if taken.device is None:
            # No negative answer exists, and a 9014 would let the logger forget what nobody has taken.
            taken.problem, taken.reply = (quarantine.UNKNOWN, ""), None
        elif skipped:
            taken.problem = (quarantine.BODY, f"{skipped} parts could not be read")
        if taken.readings or taken.problem:
            taken.key = key_of(self.protocol, hj212.message_key(decoded))
        return taken

    def _password_of(self, device: Device) -> str:
        return self.password if device.password is None else device.password

    def _may_speak(self, device: Device, decoded: Decoded) -> bool:
        wanted = self._password_of(device)
        came = str(decoded["fields"].get("PW", ""))
        return not wanted or hmac.compare_digest(came.encode(), wanted.encode())

    def _refused(self, taken: Taken, decoded: Decoded) -> Taken:
        """A frame under a wrong password. It is heard only where it answers a request of ours on this connection: that
        the password is wrong is one of the answers."""
        if taken.kind in hj212_commands.ANSWERS and self.heard(hj212_commands.key_of(decoded), decoded):
            return taken
        taken.problem = (quarantine.IDENTITY, "wrong password (PW)")
        # A key of its own: once the register is put right, the logger's resend is new.
        key = hj212.message_key(decoded)
        taken.key = key_of(self.protocol, msgspec.structs.replace(key, kind=f"refused {key.kind}"))
        return taken

    def ask(self, command: Command, order: Order, now_ms: int) -> tuple[str, bytes]:
        """The frame of an order; its QN, a moment of ours, is never given twice."""
        self._asked_ms = max(now_ms, self._asked_ms + 1)
        qn = hj212.write_qn(local_from_ms(self._asked_ms))
        device = self.registry.find(self.protocol, order.key)
        known = self._password_of(device) if device is not None else self.password
        password = str(order.options.get("password") or known or hj212_commands.PASSWORD)
        return qn, hj212_commands.write(command, order.args, qn=qn, last=self.last, now_ms=now_ms, password=password)

    def said(self, command: Command, decoded: Decoded) -> Said | None:
        """What a frame says to an order."""
        return hj212_commands.said(command, decoded)
