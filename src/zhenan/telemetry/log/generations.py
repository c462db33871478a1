"""Small states kept in files: whole or not at all, and the one before the last besides."""

from __future__ import annotations

import fcntl
import hashlib
import os
from pathlib import Path
from typing import IO, Final

_DIGEST: Final = 16
_MAGIC: Final = b"ZNST1\n"


class Held(RuntimeError):
    """Another process keeps its state in this folder."""


class Generations:
    """A state file with its checksum and its forerunner, in a folder that one process holds at a time."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        folder.mkdir(parents=True, exist_ok=True)
        self._lock: IO[str] | None = None

    def hold(self) -> None:
        """Keep other processes out until this one ends. Raises Held."""
        self._lock = (self.folder / f"{self.name}.lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Held(f"{self.folder}: another {self.name} is running on this folder") from None

    def release(self) -> None:
        if self._lock is not None:
            self._lock.close()

    def save(self, data: bytes) -> None:
        """On disk when this returns."""
        current, older = self.folder / f"{self.name}.state", self.folder / f"{self.name}.state.1"
        fresh = self.folder / f".{self.name}.new"
        with fresh.open("wb") as out:
            out.write(_MAGIC + hashlib.blake2b(data, digest_size=_DIGEST).digest())
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        if current.exists():
            current.replace(older)
        fresh.replace(current)
        handle = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def load(self) -> list[bytes]:
        """The states that are whole, the newest first."""
        found = []
        for suffix in ("", ".1"):
            path = self.folder / f"{self.name}.state{suffix}"
            try:
                data = path.read_bytes()
            except FileNotFoundError:
                continue
            start = len(_MAGIC) + _DIGEST
            body = data[start:]
            if data[:start] == _MAGIC + hashlib.blake2b(body, digest_size=_DIGEST).digest():
                found.append(body)
        return found
