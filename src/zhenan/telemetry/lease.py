"""Lanes shared among workers: who holds which, for how long, and with what fencing token.

A worker is a *member* by one key of a JetStream bucket that it writes anew every `BEAT_S`; which member holds which
lane is one document, changed by compare-and-set alone. Nobody's wall clock enters:

- a holder trusts its lanes for `HOLD_S` from the moment at which it *sent* its last beat that was written;
- another may put it out only after having *seen* its beat unchanged for `TTL_S` > HOLD_S, in looks that followed each
  other closely, and only by removing exactly that beat (compare-and-set): of a beat and an eviction one is refused.

So a holder has stopped by its own clock before its lanes can be had. What it had under way when it was paused is
refused where it is written: every lane is taken with a token greater than all before it (`log.states`), and history
takes a commit only behind the one it knows of (`history.lanes`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec
import nats.js.errors
import structlog
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import KeyValueConfig, StorageType
from nats.js.errors import BucketNotFoundError, KeyNotFoundError, KeyWrongLastSequenceError
from nats.js.kv import KeyValue

from zhenan.telemetry.log.chain import WRONG_LAST
from zhenan.telemetry.log.connect import PASSING, elsewhere, wait_connected
from zhenan.telemetry.log.streams import replicas

BUCKET: Final = "LEASES"
BEAT_S: Final = 0.8
HOLD_S: Final = 3.0
TTL_S: Final = 4.5
GAP_S: Final = 2.0  # looks further apart than this do not prove that a beat stood still
_ANSWER_S: Final = 1.5
_NO_KEY: Final = re.compile(r"[^A-Za-z0-9_-]")
_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # goes on while the machine sleeps
log = structlog.get_logger("zhenan.lease")


def clock_s() -> float:
    """Seconds that nobody sets: it runs while a process is paused and while the machine sleeps."""
    return time.clock_gettime(_CLOCK)


class Lost(RuntimeError):
    """The lane is another worker's now."""


class Book(msgspec.Struct):
    """Who holds what. `members`: id → name; `lanes`: lane → (member id, token); `token`: the last one given."""

    count: int
    token: int = 0
    members: dict[str, str] = msgspec.field(default_factory=dict)
    lanes: dict[int, tuple[str, int]] = msgspec.field(default_factory=dict)

    def of(self, member: str) -> dict[int, int]:
        """Lane → token of what a member holds."""
        return {lane: token for lane, (who, token) in self.lanes.items() if who == member}

    def free(self) -> list[int]:
        return [lane for lane in range(self.count) if lane not in self.lanes]

    def share(self, member: str) -> int:
        """How many lanes a member should hold: even, the first few by id one more."""
        ranked = sorted(self.members)
        each, rest = divmod(self.count, len(ranked))
        return each + (ranked.index(member) < rest)

    def without(self, gone: set[str]) -> Book:
        members = {who: name for who, name in self.members.items() if who not in gone}
        lanes = {lane: held for lane, held in self.lanes.items() if held[0] not in gone}
        return Book(self.count, self.token, members, lanes)


@dataclass(eq=False)
class Lease:
    """One lane in hand. `leaving` is set when it should be given back: finish, keep the state, return."""

    lane: int
    token: int
    leaving: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass
class _Watch:
    """A member's beat as seen from here: since when it stands at this revision, and when it was last looked at."""

    revision: int
    since: float
    looked: float


class WrongLanes(RuntimeError):
    """The lanes are shared by another count than this worker was told."""


async def bucket(js: JetStreamContext) -> KeyValue:
    """The bucket of all roles, made when it is missing."""
    try:
        return await js.key_value(BUCKET)
    except BucketNotFoundError:
        config = KeyValueConfig(bucket=BUCKET, history=1, storage=StorageType.FILE, replicas=replicas())
        return await js.create_key_value(config)


class Leases:
    """A worker's part in sharing the `count` lanes of a role. `run` as a task; `held` changes when `changed` is set.

    Args:
        name: of the worker, for people; the member's id is made anew at every (re)joining.
    Raises (from `run`): WrongLanes.
    """

    def __init__(
        self, client: Client, role: str, count: int, *, name: str = "",
        beat_s: float = BEAT_S, hold_s: float = HOLD_S, ttl_s: float = TTL_S, gap_s: float = GAP_S,
    ) -> None:  # fmt: skip
        if not 0 < beat_s < hold_s < ttl_s:
            raise ValueError(f"want 0 < beat < hold < ttl; got {beat_s=}, {hold_s=}, {ttl_s=}")
        self.client, self.role, self.count = client, role, count
        self.name = name or f"{socket.gethostname()}-{os.getpid()}"
        self.beat_s, self.hold_s, self.ttl_s, self.gap_s = beat_s, hold_s, ttl_s, gap_s
        self.held: dict[int, Lease] = {}
        self.changed = asyncio.Event()
        self.member = ""
        self.evictions = self.evicted = 0  # of others by us; of us by others
        self._js = client.jetstream(timeout=_ANSWER_S)
        self._kv: KeyValue | None = None
        self._until = 0.0
        self._revision = 0  # of our beat
        self._beats = 0
        self._attempts: dict[bytes, float] = {}  # beats whose answer is not known: value → when it was sent
        self._watched: dict[str, _Watch] = {}
        self._book_seen = 0
        self._releasing: set[int] = set()
        self._wake = asyncio.Event()

    @property
    def kv(self) -> KeyValue:
        if self._kv is None:
            raise RuntimeError("not yet a member: `run` first")
        return self._kv

    # what holders ask

    def valid(self) -> bool:
        """Whether what is held may be acted upon now."""
        return clock_s() < self._until

    async def ensure(self, lease: Lease) -> None:
        """Return while the lease may be acted upon; wait while that cannot be known. Raises Lost."""
        while True:
            if self.held.get(lease.lane) is not lease:
                raise Lost(f"{self.role} lane {lease.lane}: another worker holds it")
            if self.valid():
                return
            await asyncio.sleep(0.05)

    def release(self, lease: Lease) -> None:
        """Give a lane back, once nothing more is written for it; it is said at the next turn, which comes at once."""
        if self.held.get(lease.lane) is lease:
            del self.held[lease.lane]
            self._releasing.add(lease.lane)
            self._wake.set()

    async def leave(self) -> None:
        """Give everything back and be no member any more; what cannot be said in time lapses by itself."""
        self.held.clear()
        self._until = 0.0
        if not self.member:
            return
        try:
            async with asyncio.timeout(_ANSWER_S * 2):
                await self._forget({self.member})
                if self._kv is not None:
                    await self._evict(self.member, self._revision)
        except PASSING as err:
            log.warning("lease.left_unsaid", role=self.role, error=str(err) or type(err).__name__)
        self.member = ""

    # the loop

    async def run(self) -> None:
        """Beat, look, claim, for ever."""
        answered = clock_s()
        while True:
            began = clock_s()
            try:
                await self._turn()
                answered = clock_s()
            except PASSING as err:
                log.warning("lease.no_answer", role=self.role, error=str(err) or type(err).__name__)
                if clock_s() - answered > self.ttl_s:  # the server we talk to may be cut off from the others
                    await elsewhere(self.client)
                    answered = clock_s()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), max(0.05, self.beat_s - (clock_s() - began)))
            self._wake.clear()

    async def _turn(self) -> None:
        await wait_connected(self.client)
        if self._kv is None:
            self._kv = await bucket(self._js)
        if not self.member:
            await self._join()
        elif not await self._beat():
            self._put_out()
            return
        book, _ = await self._book()
        gone = await self._gone(book)
        if gone:
            await self._forget(gone)
        await self._settle()

    async def _join(self) -> None:
        """Become a member: the beat first, then the name in the book, so that a name without a beat is a dead one."""
        member, self._beats, self._attempts = f"{self.name}-{os.urandom(4).hex()}", 0, {}
        sent = clock_s()
        self._revision = await self.kv.create(self._key(member), self._value(), validate_keys=False)
        self.member, self._until = member, sent + self.hold_s
        log.info("lease.joined", role=self.role, member=member)

    def _key(self, member: str) -> str:
        return f"{self.role}.member.{_NO_KEY.sub('_', member)}"

    def _value(self) -> bytes:
        self._beats += 1
        return b"%d %s" % (self._beats, os.urandom(4).hex().encode())

    async def _beat(self) -> bool:
        """Write the next beat. False when another worker has put us out."""
        value, sent = self._value(), clock_s()
        self._attempts[value] = sent
        try:
            revision = await self.kv.update(self._key(self.member), value, last=self._revision, validate_keys=False)
        except KeyWrongLastSequenceError:
            try:
                entry = await self.kv.get(self._key(self.member), validate_keys=False)
            except KeyNotFoundError:
                return False
            if entry.value not in self._attempts or entry.revision is None:
                return False
            revision, sent = entry.revision, self._attempts[entry.value]  # it was written, its answer was lost
        self._revision, self._attempts = revision, {}
        self._until = max(self._until, sent + self.hold_s)
        return True

    def _put_out(self) -> None:
        log.warning("lease.evicted", role=self.role, member=self.member, lanes=sorted(self.held))
        self.evicted += 1
        self.member, self._until = "", 0.0
        self.held.clear()
        self._releasing.clear()
        self._watched.clear()
        self.changed.set()

    # the others

    async def _gone(self, book: Book) -> set[str]:
        """Members that are no more: their beat is removed, by us just now or by someone before."""
        others = [who for who in book.members if who != self.member]
        self._watched = {who: seen for who, seen in self._watched.items() if who in others}
        found = await asyncio.gather(*(self._is_gone(who) for who in others))
        return {who for who, gone in zip(others, found, strict=True) if gone}

    async def _is_gone(self, member: str) -> bool:
        try:
            revision = (await self.kv.get(self._key(member), validate_keys=False)).revision or 0
        except KeyNotFoundError:
            return True
        now, seen = clock_s(), self._watched.get(member)
        if seen is None or seen.revision != revision or now - seen.looked > self.gap_s:
            self._watched[member] = _Watch(revision, now, now)
            return False
        seen.looked = now
        if now - seen.since < self.ttl_s or not await self._evict(member, revision):
            return False
        self.evictions += 1
        log.warning("lease.evicts", role=self.role, member=member, silent_s=round(now - seen.since, 1))
        return True

    async def _evict(self, member: str, revision: int) -> bool:
        """Remove a member's beat if it is still the one we saw."""
        try:
            await self.kv.delete(self._key(member), last=revision, validate_keys=False)
        except nats.js.errors.APIError as err:
            if err.err_code not in WRONG_LAST:
                raise
            return False
        await self._js.purge_stream(f"KV_{BUCKET}", subject=f"$KV.{BUCKET}.{self._key(member)}")
        return True

    # the book

    async def _book(self) -> tuple[Book, int]:
        """The book and its revision. Raises WrongLanes; TimeoutError for one older than we have seen."""
        try:
            entry = await self.kv.get(f"{self.role}.book")
        except KeyNotFoundError:
            return Book(self.count), 0
        book = msgspec.json.decode(entry.value or b"", type=Book)
        revision = entry.revision or 0
        if revision < self._book_seen:
            raise TimeoutError(f"an old book of {self.role}: {revision} after {self._book_seen}")
        if book.count != self.count:
            if book.members.keys() - {self.member}:
                names = ", ".join(sorted(book.members.values()))
                raise WrongLanes(
                    f"{self.role}: {names} share {book.count} lanes, this worker was told {self.count}; "
                    "give all of them the same ZHENAN_LOG_LANES"
                )
            book = Book(self.count, book.token)
        self._book_seen = revision
        return book, revision

    async def _write(self, book: Book, revision: int) -> bool:
        try:
            self._book_seen = await self.kv.update(f"{self.role}.book", msgspec.json.encode(book), last=revision)
        except KeyWrongLastSequenceError:
            return False
        return True

    async def _forget(self, gone: set[str]) -> None:
        """Strike members out of the book, and what they held."""
        while True:
            book, revision = await self._book()
            if not (gone & book.members.keys()) or await self._write(book.without(gone), revision):
                return

    async def _settle(self) -> None:
        """Write what we give back and claim what is free and ours by share; then see what we hold."""
        while self.member:
            book, revision = await self._book()
            after = self._wanted(book)
            if after is None or await self._write(after, revision):
                self._see(after or book)
                return

    def _wanted(self, book: Book) -> Book | None:
        """The book as it should be for us; None when it is so already."""
        members = {**book.members, self.member: self.name}
        lanes, token = dict(book.lanes), book.token
        mine = book.of(self.member)
        for lane in self._releasing & mine.keys():
            del lanes[lane], mine[lane]
        after = Book(book.count, token, members, lanes)
        free = [lane for lane in after.free() if lane not in self._releasing]
        for lane in free[: max(0, after.share(self.member) - len(mine))]:
            after.token += 1
            after.lanes[lane] = (self.member, after.token)
        return None if (after.members, after.lanes) == (book.members, book.lanes) else after

    def _see(self, book: Book) -> None:
        """Take what the book says is ours; mark what is beyond our share."""
        mine, before = book.of(self.member), set(self.held.values())
        self._releasing &= mine.keys()  # what came to be given back while we wrote is said next time
        for lane, lease in list(self.held.items()):
            if mine.get(lane) != lease.token:
                del self.held[lane]
        for lane, token in mine.items():
            if lane not in self._releasing:
                self.held.setdefault(lane, Lease(lane, token))
        staying = [lease for _, lease in sorted(self.held.items()) if not lease.leaving.is_set()]
        for lease in staying[book.share(self.member) :]:
            lease.leaving.set()
        if set(self.held.values()) != before:
            log.info("lease.holds", role=self.role, member=self.member, lanes=sorted(self.held))
            self.changed.set()


async def look(js: JetStreamContext) -> Mapping[str, Book]:
    """The books of all roles, for people to look at. Raises what the client raises; {} without a bucket."""
    try:
        kv = await js.key_value(BUCKET)
    except BucketNotFoundError:
        return {}
    found = {}
    for role in ROLES:
        try:
            entry = await kv.get(f"{role}.book")
        except KeyNotFoundError:
            continue
        found[role] = msgspec.json.decode(entry.value or b"", type=Book)
    return found


ROLES: Final = ("judge", "historian", "mqtt")


def holders(book: Book) -> Iterator[tuple[str, list[int]]]:
    """(worker's name, its lanes) in order of names; those that hold nothing too."""
    for member, name in sorted(book.members.items(), key=lambda one: one[1]):
        yield name, sorted(book.of(member))
