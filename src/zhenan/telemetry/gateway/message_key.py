"""The key under which a message is known when it comes again."""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

from zhenan.telemetry.codecs.base import MessageKey
from zhenan.telemetry.codecs.jt808_frame import unescape

DIGEST: Final = 8  # bytes


def key_of(protocol: str, key: MessageKey) -> bytes:
    """The message key as the log carries it."""
    return hashlib.blake2b(msgspec.msgpack.encode((protocol, key)), digest_size=DIGEST).digest()


def plain_packet(raw: bytes) -> bytes:
    """A good frame of JT/T 808 without flags, escapes and check byte."""
    return unescape(raw.strip(b"\x7e"))[0][:-1]


def location_key(raw: bytes) -> bytes:
    """The key of a location of JT/T 808 that came in one frame: the same whichever way the frame is read."""
    return hashlib.blake2b(b"jt808" + plain_packet(raw), digest_size=DIGEST).digest()
