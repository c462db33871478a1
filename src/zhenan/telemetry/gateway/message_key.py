"""The key under which a message is known when it comes again."""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

from zhenan.telemetry.codecs.base import MessageKey

DIGEST: Final = 8  # bytes


def key_of(protocol: str, key: MessageKey) -> bytes:
    """The message key as the log carries it."""
    return hashlib.blake2b(msgspec.msgpack.encode((protocol, key)), digest_size=DIGEST).digest()
