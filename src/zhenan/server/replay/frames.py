"""`zhenan replay frames`: recorded device messages to the running gateway over TCP, compared with what is expected.

Files of a folder, one JSON object a line: ``hex`` or ``text`` of a frame, ``expect.ok``; lines with ``level`` are parts
of a frame and cannot be sent. Each protocol's frames go out twice, each time over one connection: frame by frame, then
all in one stream cut into odd pieces. Compared are the answers, frame by frame, and the gateway's own counts.
"""

from __future__ import annotations

import argparse
import json
import socket
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zhenan.server import config
from zhenan.server.replay.series.running import Health
from zhenan.server.replay.tables import say, table

PROTOCOLS = ("gb26875", "jt808", "hj212")
ANSWER_S = 1.0  # how long an answer that must come is waited for before the next frame goes out
QUIET_S = 0.15  # how long one is listened for where none has to come
END_S = 15.0  # after the last frame: the gateway gives a frame begun and not finished up to ten seconds
SETTLED_S = 5.0  # the gateway writes its counts every two seconds
PIECES = (1, 3, 7, 2, 13, 5, 31, 11, 64, 17, 101, 4)  # bytes a piece, over and over
UNKNOWN, REFUSED = "refused_total:unknown_device", "bad_frames:"


class CannotSend(ValueError):
    """No vectors, or no gateway."""


@dataclass(frozen=True)
class Vector:
    """A recorded frame. ``number``: its line in the file; ``answered``: whether the protocol demands an answer."""

    number: int
    raw: bytes
    ok: bool
    error: str
    answered: bool


@dataclass
class Told:
    """What one pass over a connection gave."""

    answers: int = 0
    reconnects: int = 0
    unanswered: list[Vector] = field(default_factory=list)
    strays: list[str] = field(default_factory=list)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--vectors", type=Path, required=True, metavar="DIR", help="folder with PROTOCOL.jsonl")
    parser.add_argument("--host", default="127.0.0.1")
    for protocol in PROTOCOLS:
        words = "default: as the gateway of this data folder told"
        parser.add_argument(f"--{protocol}-port", type=int, default=0, metavar="PORT", help=words)


def run(asked: argparse.Namespace) -> int:
    """Exit status 0: all as expected; 1: something disagrees; 2: nothing could be sent."""
    try:
        ports = ports_of(asked)
        vectors = {protocol: read(asked.vectors / f"{protocol}.jsonl", protocol) for protocol in PROTOCOLS}
        found = {
            protocol: Pass(protocol, asked.host, ports[protocol], *vectors[protocol]).run() for protocol in PROTOCOLS
        }
    except (CannotSend, OSError) as err:
        sys.stderr.write(f"zhenan replay frames: {err}\n")
        return 2
    table(Pass.HEAD, [one.row() for one in found.values()])
    disagreements = [line for one in found.values() for line in one.disagreements]
    for one in found.values():
        if one.by_reason:
            say(f"{one.protocol}: refused by reason: {', '.join(f'{r} {n}' for r, n in sorted(one.by_reason.items()))}")
    for line in disagreements:
        say(f"DISAGREES {line}")
    say("all as expected" if not disagreements else f"{len(disagreements)} disagreements")
    return 1 if disagreements else 0


def ports_of(asked: argparse.Namespace) -> dict[str, int]:
    """Ports as given, else as the gateway of this data folder told. Raises CannotSend."""
    try:
        told = json.loads((config.data_dir() / "run" / "gateway.json").read_text("utf-8"))["ports"]
    except (OSError, ValueError, KeyError):
        told = {}
    ports = {protocol: getattr(asked, f"{protocol}_port") or told.get(protocol, 0) for protocol in PROTOCOLS}
    missing = [protocol for protocol, port in ports.items() if not port]
    if missing:
        raise CannotSend(
            f"no port of {', '.join(missing)}: no gateway on {config.data_dir()}; name them (--{missing[0]}-port …)"
        )
    return ports


def read(path: Path, protocol: str) -> tuple[list[Vector], int]:
    """The whole frames of a file, and how many lines are parts of one. Raises CannotSend."""
    vectors, parts = [], 0
    try:
        lines = path.read_text("utf-8").splitlines()
    except OSError as err:
        raise CannotSend(f"cannot read {path}: {err.strerror}") from err
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            entry: dict[str, Any] = json.loads(line)
            expect = entry["expect"]
            raw = bytes.fromhex(entry["hex"]) if "hex" in entry else entry["text"].encode()
        except (ValueError, KeyError) as err:
            raise CannotSend(f"{path.name}, line {number}: want hex or text, and expect ({err})") from err
        if entry.get("level"):
            parts += 1
            continue
        ok = bool(expect["ok"])
        vectors.append(Vector(number, raw, ok, expect.get("error", ""), ok and must_answer(protocol, expect)))
    return vectors, parts


def must_answer(protocol: str, expect: dict[str, Any]) -> bool:
    """Whether the protocol demands an answer to a good frame, by what the vector says it holds.

    GB/T 26875.3: to control, data and requests (commands 1, 2, 4). JT/T 808: to everything but the terminal's own
    answer. HJ 212: none is certain, for a logger that is not registered hears nothing and sends again by itself.
    """
    if protocol == "gb26875":
        return expect.get("cmd") in (1, 2, 4)
    return protocol == "jt808" and expect.get("msg_id") != "0x0001"


def stretches(vectors: Sequence[Vector]) -> int:
    """How many runs of bad frames lie between good ones: the stream cannot tell two that touch apart."""
    before = [True, *(vector.ok for vector in vectors)]
    return sum(was and not vector.ok for was, vector in zip(before, vectors, strict=False))


class Pass:
    """One protocol's frames, sent twice; what was answered and counted."""

    HEAD = (
        "protocol", "whole frames", "parts left out", "expected good", "expected bad", "answers", "answers, in pieces",
        "taken", "refusals", "readings of unknown devices", "connection survived",
    )  # fmt: skip

    def __init__(self, protocol: str, host: str, port: int, vectors: Sequence[Vector], parts: int) -> None:
        self.protocol, self.host, self.port, self.vectors, self.parts = protocol, host, port, vectors, parts
        self.disagreements: list[str] = []
        self.by_reason: dict[str, int] = {}
        self.counted: dict[str, int] | None = None

    def run(self) -> Pass:
        """Send, listen, compare. Raises OSError when the gateway cannot be reached."""
        before = settled()
        self.one = self._one_by_one()
        self.pieces = self._in_pieces()
        self._compare_answers()
        self._compare_counts(before, settled())
        return self

    def row(self) -> list[object]:
        good = sum(one.ok for one in self.vectors)
        counted = self.counted or {}
        return [
            self.protocol, len(self.vectors), self.parts, good, len(self.vectors) - good, self.one.answers,
            self.pieces.answers, counted.get("taken"), counted.get("refused"), counted.get("unknown"),
            "yes" if not self.one.reconnects and not self.pieces.reconnects else "NO",
        ]  # fmt: skip

    # sending

    def _one_by_one(self) -> Told:
        """Frame by frame; answers come in the order of the frames, so each belongs to the oldest that waits for one."""
        told, waiting = Told(), deque[Vector]()
        line = Line(self.host, self.port, self.protocol)
        for vector in self.vectors:
            if line.closed:
                told.reconnects += 1
                told.unanswered += waiting
                waiting.clear()
                line = Line(self.host, self.port, self.protocol)
            line.send(vector.raw)
            if vector.answered:
                waiting.append(vector)
            self._hear(line.answers(ANSWER_S if vector.answered else QUIET_S, len(waiting)), waiting, vector, told)
        line.finish()
        self._hear(line.answers(END_S, 0), waiting, self.vectors[-1], told)
        told.unanswered += waiting
        line.close()
        return told

    def _hear(self, answers: Iterator[bytes], waiting: deque[Vector], latest: Vector, told: Told) -> None:
        for _answer in answers:
            told.answers += 1
            if waiting:
                waiting.popleft()
            else:
                told.strays.append(f"line {latest.number} or before")

    def _in_pieces(self) -> Told:
        """All frames as one stream, cut where no frame ends."""
        told = Told()
        stream = b"".join(vector.raw for vector in self.vectors)
        line, at, nth = Line(self.host, self.port, self.protocol), 0, 0
        while at < len(stream) and not line.closed:
            size = PIECES[nth % len(PIECES)]
            line.send(stream[at : at + size])
            at, nth = at + size, nth + 1
            told.answers += sum(1 for _ in line.answers(0.0, 0))
        told.reconnects = int(at < len(stream))
        line.finish()
        told.answers += sum(1 for _ in line.answers(END_S, 0))
        line.close()
        return told

    # comparing

    def _compare_answers(self) -> None:
        for vector in self.one.unanswered:
            self._differ(f"line {vector.number}: a good frame that demands an answer got none")
        for where in self.one.strays:
            self._differ(f"{where}: an answer to a frame that should have got none")
        if self.one.reconnects or self.pieces.reconnects:
            self._differ("the gateway closed the connection")
        if self.pieces.answers != self.one.answers:
            self._differ(f"{self.one.answers} answers frame by frame, but {self.pieces.answers} in odd pieces")

    def _compare_counts(self, before: Health, after: Health) -> None:
        """The gateway's own counts, where it runs on this data folder. They are of all devices."""
        if not (before.fresh and after.fresh):
            say(f"{self.protocol}: the gateway's counts are not on this machine; the answers alone are compared")
            return
        reasons = _difference(before.all_of(f"{REFUSED}{self.protocol}."), after.all_of(f"{REFUSED}{self.protocol}."))
        self.by_reason = reasons
        taken = after.get(f"frames:{self.protocol}") - before.get(f"frames:{self.protocol}")
        self.counted = {
            "taken": taken, "refused": sum(reasons.values()), "unknown": after.get(UNKNOWN) - before.get(UNKNOWN),
        }  # fmt: skip
        good = sum(vector.ok for vector in self.vectors)
        alone = not before.get("open_connections") and not after.get("open_connections")
        if not alone:
            say(f"{self.protocol}: other devices are connected; the gateway's counts hold their frames too")
        if taken < 2 * good or (alone and taken != 2 * good):
            self._differ(f"{good} good frames sent twice, but the gateway took {taken}")
        runs = stretches(self.vectors)
        if sum(reasons.values()) < 2 * runs:
            self._differ(
                f"{runs} stretches of bad frames sent twice, but {sum(reasons.values())} refusals were counted"
            )

    def _differ(self, text: str) -> None:
        self.disagreements.append(f"{self.protocol}: {text}")


def _difference(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    return {name: n - before.get(name, 0) for name, n in after.items() if n != before.get(name, 0)}


def settled() -> Health:
    """The gateway's health once it was written after now; at once where no gateway runs here."""
    began, found = time.time(), Health.of("gateway")
    while found.fresh and found.figures["at"] < began + 0.1 and time.time() < began + SETTLED_S:
        time.sleep(0.1)
        found = Health.of("gateway")
    return found


class Line:
    """A TCP connection that counts answers: each is a whole frame of the protocol."""

    def __init__(self, host: str, port: int, protocol: str) -> None:
        self.socket = socket.create_connection((host, port), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.protocol, self.heard, self.closed = protocol, b"", False

    def send(self, data: bytes) -> None:
        try:
            self.socket.sendall(data)
        except OSError:
            self.closed = True

    def finish(self) -> None:
        """Say that nothing more comes; the gateway answers what it has and hangs up."""
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            self.closed = True

    def close(self) -> None:
        self.socket.close()

    def answers(self, wait_s: float, enough: int) -> Iterator[bytes]:
        """Answers as they come, for so long or until there are enough (0: until the time is over or it hangs up)."""
        deadline, count = time.monotonic() + wait_s, 0
        while True:
            for answer in self._cut():
                count += 1
                yield answer
            left = deadline - time.monotonic()
            if self.closed or (enough and count >= enough) or (left <= 0 and wait_s > 0):
                return
            self.socket.settimeout(max(left, 0.001))
            try:
                data = self.socket.recv(65536)
            except TimeoutError:
                if wait_s <= 0:
                    return
                continue
            except OSError:
                data = b""
            self.closed = not data
            self.heard += data

    def _cut(self) -> Iterator[bytes]:
        """Whole answers at the front of what was heard."""
        while (length := answer_length(self.protocol, self.heard)) is not None:
            yield self.heard[:length]
            self.heard = self.heard[length:]


def answer_length(protocol: str, heard: bytes) -> int | None:
    """Bytes of the whole answer at the front, by the protocol's outer form; None while there is none.

    GB/T 26875.3: 27 bytes about a unit whose length (little-endian) stands at 24, then the sum and 2 end bytes: 30 and
    more. JT/T 808: from 0x7e to 0x7e. HJ 212: to CR LF.
    """
    if protocol == "gb26875":
        if len(heard) < 30:
            return None
        length = 30 + int.from_bytes(heard[24:26], "little")
        return length if len(heard) >= length else None
    if protocol == "jt808":
        end = heard.find(b"\x7e", 1)
    else:
        end = heard.find(b"\n")
    return end + 1 if end >= 0 and heard else None
