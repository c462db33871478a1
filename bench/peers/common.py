"""What every peer needs: a process of its own in a folder of its own, its processor time, its bytes on disk."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psutil
from bench.peers.stream import Rows, Target

LONGEST_S = 120.0  # nothing here is waited for longer than this


class NotInstalled(Exception):
    """The peer is not on this machine; the text says what is missing and which package has it."""


class Peer(Protocol):
    """A program that takes readings. `alarmed`: when each point's alarm was first seen, by (device, channel)."""

    name: str
    judged_by: str
    target: Target
    alarmed: dict[tuple[str, str], float]

    def encode(self, rows: Rows) -> bytes: ...
    def stored(self, rows: int) -> int: ...
    def settle(self) -> None: ...
    def disk(self) -> int: ...
    def cpu_s(self) -> float: ...


@dataclass
class Program:
    """A peer's programs: where each was found."""

    paths: dict[str, str]

    @classmethod
    def find(cls, names: Sequence[str], *, package: str, files: Sequence[Path] = ()) -> Program:
        """Raises NotInstalled."""
        where = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
        found = {name: shutil.which(name, path=where) for name in names}
        missing = [name for name, path in found.items() if path is None]
        missing += [str(path) for path in files if not path.exists()]
        if missing:
            raise NotInstalled(f"not installed: {', '.join(missing)} (Debian's package {package})")
        return cls({name: path for name, path in found.items() if path is not None})


@contextlib.contextmanager
def running(argv: Sequence[str], log: Path) -> Iterator[psutil.Process]:
    """A program in a process group of its own, stopped at the end with everything it started."""
    with log.open("ab") as out:
        started = subprocess.Popen(argv, stdout=out, stderr=out, cwd=log.parent, start_new_session=True)
    try:
        yield psutil.Process(started.pid)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGTERM)
        try:
            started.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(started.pid, signal.SIGKILL)
            started.wait(10)


def cpu_s(roots: Iterable[psutil.Process]) -> float:
    """Seconds of processor time of processes and of all that they started, those that have ended too."""
    found = 0.0
    for root in roots:
        for process in (root, *root.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                found += times.user + times.system + times.children_user + times.children_system
    return found


def size_of(folder: Path) -> int:
    """Bytes of the files under a folder; files that vanish meanwhile do not count."""
    found = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            found += path.stat().st_size if path.is_file() else 0
    return found


def wait_until(
    done: Callable[[], bool],
    what: str,
    log: Path | None = None,
    *,
    every_s: float = 0.1,
    process: psutil.Process | None = None,
) -> None:
    """Raises RuntimeError with the end of the log when it does not come to pass, or the process ends before."""
    began = time.monotonic()
    while not done():
        ended = process is not None and process.status() == psutil.STATUS_ZOMBIE
        if ended or time.monotonic() - began > LONGEST_S:
            tail = log.read_text("utf-8", "replace")[-2000:] if log and log.exists() else "(none)"
            raise RuntimeError(f"{what} did not happen in {time.monotonic() - began:.0f} s; its log ends:\n{tail}")
        time.sleep(every_s)


def load() -> str:
    """How busy the machine is with everything."""
    return f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
