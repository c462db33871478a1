"""A storm at its pace, seen from open pages: how long from the judge's word to the row, the live feed and the list.

A web process of its own; pages that listen to the feed over HTTP and ask for the list of alarms again as the page's
script does; here the judge's words come at the pace, and are recorded as the judge does it: what came meanwhile, in
transactions of at most AT_ONCE.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

SPAWN = get_context("spawn")
LIST = "/monitoring/alarms/"
SLOWEST = 5  # times the span that recording may take before it is given up
SETTLE_S = 5.0  # after the last is recorded
LEAST_S, MOST_S, SHARE = 0.5, 5.0, 4  # as live.js: how often a page asks


@contextlib.contextmanager
def web(folder: Path, port: int) -> Iterator[str]:
    """The address of a web process on the database of the environment."""
    argv = [sys.executable, "-m", "zhenan.server.cli", "web", "--port", str(port)]
    url = f"http://127.0.0.1:{port}"
    with (folder / "web.log").open("ab") as out:
        process = subprocess.Popen(argv, stdout=out, stderr=out)
    try:
        for _ in range(600):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{url}/metrics", timeout=30).close()
                break
            if process.poll() is not None:
                raise RuntimeError(f"the web process ended: {(folder / 'web.log').read_text()[-2000:]}")
            time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(20)


def page(url: str, session: str, heard: Any, ready: Any, stop: Any) -> None:
    """A process with an open page: what it hears and when, what its list shows and when. Into `heard` at the end."""
    messages: list[tuple[float, str]] = []
    shown: list[tuple[float, list[str]]] = []
    moved = threading.Event()

    def get(path: str, **headers: str) -> http.client.HTTPResponse:
        line = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
        line.request("GET", path, headers={"Cookie": f"sessionid={session}", **headers})
        answer = line.getresponse()
        if answer.status != 200:
            raise RuntimeError(f"{path} was answered with {answer.status}")
        return answer

    def listen() -> None:
        for line in get("/stream"):
            if line.startswith(b"event: beat"):
                ready.set()
            elif line.startswith(b"data: {"):
                said = json.loads(line[6:])
                if said["topic"] in ("alarm", "*"):
                    messages.append((time.time(), said["id"]))
                    moved.set()

    def refresh() -> None:
        while moved.wait():
            moved.clear()
            asked = time.time()
            text = get(LIST, **{"HX-Request": "true"}).read().decode()
            took = time.time() - asked
            shown.append((asked + took, re.findall(LIST + r"([0-9a-f-]{36})/", text)))
            time.sleep(max(0.0, min(MOST_S, max(LEAST_S, SHARE * took)) - took))

    for work in (listen, refresh):
        threading.Thread(target=work, daemon=True).start()
    stop.wait()
    heard.send((messages, shown))


@contextlib.contextmanager
def pages(url: str, session: str, count: int) -> Iterator[list[tuple[Any, Any]]]:
    """So many open pages; filled at the end with what each heard and showed."""
    found: list[tuple[Any, Any]] = []
    stop, ends, processes = SPAWN.Event(), [], []
    for _ in range(count):
        mine, theirs = SPAWN.Pipe()
        ready = SPAWN.Event()
        process = SPAWN.Process(target=page, args=(url, session, theirs, ready, stop), daemon=True)
        process.start()
        ends.append(mine)
        processes.append(process)
        if not ready.wait(60):
            raise RuntimeError("a page did not hear the feed within a minute")
    yield found
    stop.set()
    for end, process in zip(ends, processes, strict=True):
        if not end.poll(60):
            raise RuntimeError("a page did not say what it heard")
        found.append(end.recv())
        process.join(10)


def session_of(user: Any) -> str:
    """A signed-in session."""
    from django.test import Client

    client = Client()
    client.force_login(user)
    return str(client.cookies["sessionid"].value)


def paced(words: Sequence[Any], rate: float) -> tuple[float, list[tuple[int, int, float, float]]]:
    """Record words as they come due. (When the first was due; each batch: its ends, when it began, was committed)."""
    from zhenan.domains.monitoring.recording import AT_ONCE, record_transitions

    began, done, batches = time.time() + 0.2, 0, []
    while done < len(words):
        now = time.time()
        due = min(len(words), done + AT_ONCE, int((now - began) * rate))
        if due <= done:
            time.sleep(0.002)
            continue
        if now - began > SLOWEST * len(words) / rate:
            raise RuntimeError(f"only {done} of {len(words)} alarms were recorded after {now - began:.0f} s")
        record_transitions(words[done:due], at=datetime.now(UTC))
        batches.append((done, due, now, time.time()))
        done = due
    return began, batches


def measure(words: Sequence[Any], user: Any, folder: Path, *, rate: float, count: int) -> dict[str, Any]:
    """The figures; `words` is what the judge says, in order."""
    from zhenan.domains.monitoring.services import record_transitions
    from zhenan.server.embedded import free_port

    now_ms = int(time.time() * 1000)
    words = [word._replace(onset=now_ms + n, ts=now_ms + n) for n, word in enumerate(words)]
    warm = 200
    record_transitions(words[:warm], at=datetime.now(UTC))
    with web(folder, free_port(0)) as url:
        session = session_of(user)
        with pages(url, session, count) as heard:
            own = os.times()
            began, batches = paced(words[warm:], rate)
            spent = os.times()
            time.sleep(SETTLE_S)
    due = began + np.arange(len(words) - warm) / rate
    sizes = [until - since for since, until, _, _ in batches]
    told, seen = _first_told(words[warm:], batches, heard)
    return {
        "rate": rate, "alarms": len(due), "pages": count, "batches": len(batches),
        "batch_alarms_p50": int(np.median(sizes)),
        "recording_cpu_us_an_alarm": round((spent.user + spent.system - own.user - own.system) / len(due) * 1e6),
        **_spread("recorded", np.repeat([end for *_, end in batches], sizes) - due),
        **_spread("feed", np.repeat(told, sizes, axis=1) - due),
        **_spread("list", np.repeat(seen, sizes, axis=1) - due),
        "feed_messages_a_page": round(float(np.mean([len(messages) for messages, _ in heard]))),
        "list_asked_a_page": round(float(np.mean([len(shown) for _, shown in heard]))),
    }  # fmt: skip


def _first_told(
    words: Sequence[Any], batches: Sequence[tuple[int, int, float, float]], heard: Sequence[tuple[Any, Any]]
) -> tuple[np.ndarray, np.ndarray]:
    """(when the feed told of each batch or a later one, when the list showed an alarm as new); a row a page."""
    from zhenan.kernel.events.models import Event
    from zhenan.telemetry.judge.ids import alarm_id

    batch_of = {
        str(alarm_id(word.point, word.rule, word.onset)): number
        for number, (since, until, _, _) in enumerate(batches) for word in words[since:until]
    }  # fmt: skip
    rows = Event.objects.filter(kind="alarm.raised").values_list("pk", "targets")
    of_event = {str(pk): batch_of.get(targets[0][-36:], -1) for pk, targets in rows.iterator()}
    committed = np.array([end for *_, end in batches])
    told, seen = (np.full((len(heard), len(batches)), np.nan) for _ in range(2))
    for number, (messages, shown) in enumerate(heard):
        for at, key in messages:  # "" tells to reload everything
            _mark(told[number], of_event.get(key, -1) if key else int(np.searchsorted(committed, at)) - 1, at)
        for at, keys in shown:
            _mark(seen[number], max((batch_of.get(key, -1) for key in keys), default=-1), at)
    return told, seen


def _mark(first: np.ndarray, batch: int, at: float) -> None:
    part = first[: batch + 1]
    part[np.isnan(part)] = at


def _spread(name: str, seconds: np.ndarray) -> dict[str, float]:
    if np.isnan(seconds).any():
        raise RuntimeError(f"{int(np.isnan(seconds).sum())} alarms never came to: {name}")
    return {f"{name}_p{p}_ms": round(float(np.percentile(seconds, p)) * 1000) for p in (50, 99)}


def table(found: dict[str, Any]) -> str:
    """The figures for a person."""
    lines = [
        f"{found['alarms']:,} alarms at {found['rate']:,.0f}/s, {found['pages']} open pages; recorded in"
        f" {found['batches']} batches, half of them {found['batch_alarms_p50']} or more,"
        f" {found['recording_cpu_us_an_alarm']} µs of the recorder's time an alarm"
    ]
    words = {"recorded": "in PostgreSQL", "feed": "told by the feed", "list": "in the page's list"}
    lines += [f"word → {text:<20} p50 {found[f'{n}_p50_ms']:>6,} ms  p99 {found[f'{n}_p99_ms']:>6,} ms"
              for n, text in words.items()]  # fmt: skip
    told = f"{found['feed_messages_a_page']} messages to a page, which asked {found['list_asked_a_page']} times"
    return "\n".join([*lines, told])
