"""API keys as the gateway knows them: who may send over HTTP, for which devices, how much."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from zhenan.telemetry.gateway.limits import Bucket

DIGEST_BYTES: Final = 32


def digest_of(token: str) -> bytes:
    """What is kept of a key's text. The text is 256 random bits, so that a plain hash cannot be guessed back."""
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


@dataclass(frozen=True)
class Key:
    """One key. `devices`: ids of the devices it may report for, None: all. `expires_ms` 0: never."""

    id: int
    name: str
    digest: bytes
    readings_per_s: float
    burst: float
    devices: frozenset[int] | None = None
    expires_ms: int = 0


class Keys:
    """The keys that are good now, what is left of each one's share, and when each was last used."""

    def __init__(self) -> None:
        self.version = 0
        self.used: dict[int, int] = {}  # since last asked: key → UTC ms
        self._keys: dict[bytes, Key] = {}
        self._buckets: dict[int, Bucket] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def load(self, keys: Iterable[Key]) -> None:
        """Take the keys as they are now. What a key has used of its share stays used, unless its limits changed."""
        self._keys = {key.digest: key for key in keys}
        good = {key.id: key for key in self._keys.values()}
        self._buckets = {
            id_: bucket
            for id_, bucket in self._buckets.items()
            if id_ in good and (bucket.per_ms * 1000, bucket.burst) == (good[id_].readings_per_s, good[id_].burst)
        }
        self.version += 1

    def find(self, token: str, now_ms: int) -> Key | None:
        """The key with this text, or None: unknown, revoked or run out."""
        digest = digest_of(token)
        key = self._keys.get(digest)
        if key is None or not hmac.compare_digest(key.digest, digest) or 0 < key.expires_ms <= now_ms:
            return None
        return key

    def wait_ms(self, key: Key, now_ms: int) -> float:
        """How long the key must wait before it may send again; 0: at once."""
        return self._bucket(key, now_ms).missing_ms(now_ms)

    def spend(self, key: Key, readings: int, now_ms: int) -> None:
        """Take this many readings from the key's share. One request may overdraw it; the next one waits for that."""
        self._bucket(key, now_ms).spend(readings, now_ms)
        self.used[key.id] = now_ms

    def take_used(self) -> dict[int, int]:
        """Keys used since this was last asked, with the moment (UTC ms)."""
        used, self.used = self.used, {}
        return used

    def _bucket(self, key: Key, now_ms: int) -> Bucket:
        found = self._buckets.get(key.id)
        if found is None:
            found = self._buckets[key.id] = Bucket(key.readings_per_s, key.burst, now_ms)
        return found
