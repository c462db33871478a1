"""The judge's state as bytes: versioned, with a checksum, taken over rule by rule when rules or points have changed.

Layout: MAGIC, a BLAKE2b digest of 16 bytes over all that follows, then MessagePack of `Saved`; arrays little-endian.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from math import nan
from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from zhenan.telemetry.judge import core
from zhenan.telemetry.judge.core import I64
from zhenan.telemetry.judge.results import Counters, Transition
from zhenan.telemetry.judge.rules import Rule
from zhenan.telemetry.judge.state import State

MAGIC: Final = b"ZHENAN-JUDGE-1\n"
_DIGEST: Final = 16


class SnapshotFault(ValueError):
    """The bytes are no snapshot, are damaged, or were written by another version."""


class SavedRule(msgspec.Struct, frozen=True):
    """A rule as far as its state is concerned. `words`: how many it has for each point."""

    id: str
    signature: str
    kind: int
    words: int
    level: int


class Saved(msgspec.Struct, frozen=True):
    """One snapshot. `profiles`: the rule numbers of each. The bytes are arrays over the points, or over their words."""

    rules: list[SavedRule]
    profiles: list[list[int]]
    key_text: bytes
    key_sizes: bytes
    hot: bytes
    last_ts: bytes
    since: bytes
    words: bytes
    counters: dict[str, int]

    def has_keys(self, keys: Sequence[str]) -> bool:
        """Whether these are the keys, in this order: without making a text of each."""
        text, sizes = _key_bytes(keys)
        return text == self.key_text and sizes.tobytes() == self.key_sizes

    def keys(self) -> list[str]:
        """The keys of the points, in order."""
        ends = np.cumsum(np.frombuffer(self.key_sizes, "<i4"), dtype=np.int64).tolist()
        text = self.key_text
        return [text[a:b].decode("utf-8", "surrogatepass") for a, b in zip([0, *ends], ends, strict=False)]


# made here, by one thread: of several that meet a type for the first time msgspec may crash
_DECODER: Final = msgspec.msgpack.Decoder(Saved)


def _key_bytes(keys: Sequence[str]) -> tuple[bytes, NDArray[np.int32]]:
    """All keys as one text, and the bytes of each, little-endian int32."""
    text = "".join(keys)
    if text.isascii():
        return text.encode("ascii"), np.fromiter(map(len, keys), "<i4", len(keys))
    parts = [key.encode("utf-8", "surrogatepass") for key in keys]
    return b"".join(parts), np.fromiter(map(len, parts), "<i4", len(parts))


def taken(rules: Sequence[Rule], state: State, counters: Counters) -> Callable[[], bytes]:
    """The state as it is now; what is returned makes bytes of it, in any thread, while judging goes on.

    To take it is to copy the arrays, O(points); the most of the time goes into making bytes.
    """
    rows, keys, points = state.table.rows, state.keys, len(state.keys)  # keys are only ever added
    saved_rules = [
        SavedRule(rule.id, rule.signature(), row.kind, row.words, rule.level)
        for rule, row in zip(rules, rows, strict=True)
    ]
    profiles, counted = [list(profile) for profile in state.table.profiles], asdict(counters)
    hot = np.asarray(state.hot, "<i4").tobytes()
    last_ts, since, words = (np.asarray(each, "<i8").tobytes() for each in (state.last_ts, state.since, state.words))

    def data() -> bytes:
        key_text, key_sizes = _key_bytes(keys[:points])
        saved = Saved(
            rules=saved_rules, profiles=profiles, key_text=key_text, key_sizes=key_sizes.tobytes(),
            hot=hot, last_ts=last_ts, since=since, words=words, counters=counted,
        )  # fmt: skip
        body = msgspec.msgpack.encode(saved)
        return b"".join((MAGIC, hashlib.blake2b(body, digest_size=_DIGEST).digest(), body))

    return data


def pack(rules: Sequence[Rule], state: State, counters: Counters) -> bytes:
    """All of it. O(points)."""
    return taken(rules, state, counters)()


def unpack(data: bytes) -> Saved:
    """The snapshot in `data`. Raises SnapshotFault."""
    if not data.startswith(MAGIC):
        raise SnapshotFault(f"should begin with {MAGIC!r}; got {bytes(data[: len(MAGIC)])!r}")
    start = len(MAGIC) + _DIGEST
    body = memoryview(data)[start:]
    if hashlib.blake2b(body, digest_size=_DIGEST).digest() != data[len(MAGIC) : start]:
        raise SnapshotFault("the checksum does not fit: the snapshot is damaged or cut short")
    try:
        return _DECODER.decode(body)
    except msgspec.DecodeError as err:
        raise SnapshotFault(f"not readable by this version: {err}") from None


class _Old(NamedTuple):
    """The arrays of a snapshot, and where each rule's words lie within those of a point, by profile."""

    hot: NDArray[np.int32]
    profile: NDArray[np.int32]
    last_ts: I64
    words: I64
    offset: I64
    places: list[dict[int, int]]
    widths: list[int]  # words of each rule


def carry_over(saved: Saved, rules: Sequence[Rule], state: State, *, keep_since: bool) -> list[Transition]:
    """Move the saved state into the fresh `state`; return the clears of standing alarms that have no place there."""
    old = _arrays(saved)
    source = _places_of(saved, state.keys)  # for each point now, its number then, or -1
    now = np.flatnonzero(source >= 0)
    then = source[now]
    numbers = {(rule.id, rule.signature()): n for n, rule in enumerate(rules)}
    same = {
        n: numbers[rule.id, rule.signature]
        for n, rule in enumerate(saved.rules)
        if (rule.id, rule.signature) in numbers
    }
    state.last_ts[now] = old.last_ts[then]
    since = np.frombuffer(saved.since, "<i8")
    if keep_since and since.size:
        state.keep_since(now, since[then])
    profiles = [list(profile) for profile in state.table.profiles]
    if same == {n: n for n in range(len(rules))} and saved.profiles == profiles and _equal(source, old, state):
        state.words[:], state.hot[:] = old.words, old.hot
        return []
    _copy_words(old, same, state, now, then)
    return _withdrawn(saved, old, same, state, source)


def _equal(source: I64, old: _Old, state: State) -> bool:
    """Whether the points are the same ones, in the same order, under the same profiles."""
    return (
        source.size == old.hot.size
        and bool((source == np.arange(source.size)).all())
        and bool((old.profile == state.profile).all())
    )


def _arrays(saved: Saved) -> _Old:
    hot = np.frombuffer(saved.hot, "<i4").astype(np.int32)
    profile = np.where(hot < 0, -1 - hot, hot).astype(np.int32)
    widths = [[saved.rules[n].words for n in profile] for profile in saved.profiles]
    places = [
        dict(zip(rules, (np.cumsum(w) - w).tolist(), strict=True))
        for rules, w in zip(saved.profiles, (np.array(w, dtype=np.int64) for w in widths), strict=True)
    ]
    width = np.array([sum(w) for w in widths], dtype=np.int64)[profile] if profile.size else np.empty(0, np.int64)
    offset = np.cumsum(width) - width
    last_ts, words = np.frombuffer(saved.last_ts, "<i8"), np.frombuffer(saved.words, "<i8")
    return _Old(hot, profile, last_ts, words, offset, places, [rule.words for rule in saved.rules])


def _places_of(saved: Saved, keys: list[str]) -> I64:
    if saved.has_keys(keys):
        return np.arange(len(keys))
    where = {key: n for n, key in enumerate(saved.keys())}
    return np.array([where.get(key, -1) for key in keys], dtype=np.int64)


def _groups(codes: NDArray[np.int32]) -> Iterator[tuple[list[int], I64]]:
    """Each different row of `codes` (n, width) with the numbers of the rows equal to it. O(n log n) in all."""
    if not codes.shape[0]:
        return
    different, group = np.unique(codes, axis=0, return_inverse=True)
    order = np.argsort(group.ravel(), kind="stable")
    bounds = np.searchsorted(group.ravel()[order], np.arange(len(different) + 1))
    for number, code in enumerate(different.tolist()):
        yield code, order[bounds[number] : bounds[number + 1]]


def _copy_words(old: _Old, same: dict[int, int], state: State, now: I64, then: I64) -> None:
    """Copy the words of every rule that is the same, for points that share their old and new profile together."""
    profile = state.profile
    for (was, becomes), members in _groups(np.stack([old.profile[then], profile[now]], axis=1)):
        target = state.offset[now[members]]
        source = old.offset[then[members]]
        new_places = state.table.places_in(becomes)
        for rule, place in old.places[was].items():
            if same.get(rule) in new_places:
                span = np.arange(old.widths[rule])
                words = old.words[(source + place)[:, None] + span]
                state.words[(target + new_places[same[rule]])[:, None] + span] = words
    # A busy point whose busy rule is gone is still marked busy; the loop finds out at its next reading.
    state.hot[now] = np.where(old.hot[then] < 0, -1 - profile[now], profile[now])


def _withdrawn(saved: Saved, old: _Old, same: dict[int, int], state: State, source: I64) -> list[Transition]:
    """The clears of alarms standing in `old` that have no place in `state`, in order of time, point and rule."""
    found: list[Transition] = []
    keys = saved.keys()
    becomes = np.full(old.profile.size, -1, dtype=np.int32)  # the new profile of each old point, -1 where it is gone
    becomes[source[source >= 0]] = state.profile[source >= 0]
    for (was, now), members in _groups(np.stack([old.profile, becomes], axis=1)):
        new_places = state.table.places_in(now) if now >= 0 else {}
        for rule, place in old.places[was].items():
            if same.get(rule) in new_places:
                continue
            start = old.offset[members] + place
            onset = old.words[start]
            standing = onset != core.NONE
            if saved.rules[rule].kind <= core.STATE:
                standing &= old.words[start + 1] != core.NONE
            for point, began in zip(members[standing].tolist(), onset[standing].tolist(), strict=True):
                ts, why = max(int(old.last_ts[point]), began), "rule" if now >= 0 else "point"
                gone = saved.rules[rule]
                found.append(Transition(keys[point], gone.id, "clear", ts, began, nan, gone.level, why=why))
    return sorted(found, key=lambda t: (t.ts, t.point, t.rule))
