"""Commits to the log: each is one message, written once however often it had to be sent.

Every commit names the one before it on its subject (JetStream compares), so that of two writers one is refused, and a
commit whose answer was lost is recognised by its id instead of being written twice.
"""

from __future__ import annotations

import asyncio
import base64
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import nats.js.errors
import structlog
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import Header

from zhenan.telemetry.log.connect import PASSING, elsewhere, wait_connected

SOURCE_SEQ: Final = "Zn-Source-Seq"
KEYS: Final = "Zn-Keys"
RECEIVED: Final = "Zn-Received"
TAKEN: Final = "Zn-Taken"  # where a chain goes on that retention took whole: the sequence of its last commit
MAX_KEYS: Final = 4000  # in one commit: JetStream takes 64 kB of headers
WRONG_LAST: Final = (10071, 10164)  # what JetStream says to a compare-and-set that came too late
_ANSWER_S: Final = 5.0
_TELL_S: Final = 1.0  # how often a refusal that is tried again at once is told of
log = structlog.get_logger("zhenan.log")


class Fenced(RuntimeError):
    """Another writer has written on this chain: it took over, and this one must stop."""


@dataclass(frozen=True)
class Head:
    """The last commit on a subject; `seq` 0 when there is none."""

    seq: int
    headers: Mapping[str, str]
    data: bytes
    at_s: float = 0.0  # when the broker stored it, Unix time

    @property
    def source_seq(self) -> int:
        """The last message of the source that is contained; 0 when none was ever told."""
        return int(self.headers.get(SOURCE_SEQ, "0"))


async def head_of(js: JetStreamContext, stream: str, subject: str) -> Head:
    """The last commit on a subject, asked until the broker answers."""
    while True:
        try:
            found = await js.get_last_msg(stream, subject)
        except nats.js.errors.NotFoundError:
            return Head(0, {}, b"")
        except PASSING as err:
            log.warning("log.no_answer", subject=subject, error=str(err) or type(err).__name__)
            await asyncio.sleep(0.2)
        else:
            at_s = found.time.timestamp() if found.time else 0.0
            return Head(found.seq or 0, found.headers or {}, found.data or b"", at_s)


def write_keys(keys: list[bytes]) -> str:
    """Keys of 8 bytes each, for the KEYS header."""
    return base64.b64encode(b"".join(keys)).decode("ascii")


def read_keys(text: str) -> list[bytes]:
    data = base64.b64decode(text)
    return [data[at : at + 8] for at in range(0, len(data), 8)]


class Chain:
    """The commits of one writer on one subject. Not for two tasks at once. `open` first."""

    def __init__(self, client: Client, stream: str, subject: str) -> None:
        self.client, self.stream, self.subject = client, stream, subject
        self.js = client.jetstream(timeout=_ANSWER_S)
        self.head = Head(0, {}, b"")
        self._run = os.urandom(6).hex()
        self._count = 0
        self._unanswered = 0
        self._taken = 0
        self._refused, self._told_at = 0, -_TELL_S

    async def open(self) -> Head:
        """Take the chain over where it stands."""
        self.head = await head_of(self.js, self.stream, self.subject)
        return self.head

    async def commit(self, data: bytes | bytearray, headers: Mapping[str, str]) -> int:
        """Write one commit and return its sequence once it is on disk; waits as long as it takes. Raises Fenced."""
        self._count += 1
        commit_id = f"{self.subject}.{self._run}.{self._count}"
        while True:
            await wait_connected(self.client)
            full = {**headers, Header.MSG_ID: commit_id, Header.EXPECTED_LAST_SUBJECT_SEQUENCE: str(self.head.seq)}
            if self._taken:
                full[TAKEN] = str(self._taken)
            seq = await self._attempt(data, full)
            if seq is None:
                seq = await self._already_there(commit_id)
            if seq is not None:
                self.head, self._taken = Head(seq, full, b""), 0
                return seq

    async def _attempt(self, data: bytes | bytearray, headers: dict[str, Any]) -> int | None:
        try:
            answer = await self.js.publish(self.subject, data, headers=headers)  # type: ignore[arg-type]
            self._unanswered = 0
            return answer.seq
        except nats.js.errors.APIError as err:
            if err.err_code in WRONG_LAST:
                self._tell_refusal(str(err))
            else:
                log.error("log.commit_refused", subject=self.subject, error=str(err))
                await asyncio.sleep(0.5)
        except PASSING as err:
            log.warning("log.commit_unanswered", subject=self.subject, error=str(err) or type(err).__name__)
            self._unanswered += 1
            if self._unanswered % 2 == 0:
                await elsewhere(self.client)
            await asyncio.sleep(0.1)
        return None

    def _tell_refusal(self, error: str) -> None:
        """Usually the answer to the commit before was lost, and this is said once; often: something is amiss."""
        self._refused += 1
        if (now := time.monotonic()) - self._told_at >= _TELL_S:
            log.warning(
                "log.commit_out_of_turn", subject=self.subject, after=self.head.seq, error=error, times=self._refused
            )
            self._refused, self._told_at = 0, now

    async def _already_there(self, commit_id: str) -> int | None:
        """The sequence of a commit whose answer was lost; None when it is to be sent again. Raises Fenced."""
        await wait_connected(self.client)
        last = await head_of(self.js, self.stream, self.subject)
        if last.headers.get(Header.MSG_ID) == commit_id:
            return last.seq
        if last.seq not in (self.head.seq, 0):  # 0: the chain was so old that retention took its last commit
            raise Fenced(f"{self.subject}: another writer has written commit {last.seq} after our {self.head.seq}")
        self._taken = self._taken or (self.head.seq if not last.seq else 0)
        self.head = Head(last.seq, last.headers, b"")
        return None


@dataclass(frozen=True)
class Link:
    """What a message says of its chain: the commit before it, and which one of its writer's run it is."""

    before: int
    run: str
    count: int

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> Link | None:
        """None for a message that is no chain's."""
        before = headers.get(TAKEN) or headers.get(Header.EXPECTED_LAST_SUBJECT_SEQUENCE)
        run, _, count = headers.get(Header.MSG_ID, "").rpartition(".")
        return cls(int(before), run, int(count)) if before and before.isdigit() and count.isdigit() else None

    def missing(self, known: Link | None) -> int:
        """How many commits at least lie between the one known and this, which does not follow it."""
        return max(1, self.count - known.count - 1) if known is not None and known.run == self.run else 1
