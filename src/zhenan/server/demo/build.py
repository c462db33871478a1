"""The steps in order, each in a transaction of its own and remembered, so that a stopped build goes on where it was."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from django.db import connection, transaction

from zhenan.server.demo import accounts, charts, contracts, history, live, people, places, subjects, vehicles
from zhenan.server.demo.plan import Demo

LOCK = 7_031_102  # advisory lock: two builds at once would both find a step missing
# The table is the demo's own: no part of the platform's schema, gone with --reset.
TABLE = "CREATE TABLE IF NOT EXISTS demo_city (step text PRIMARY KEY, scale float8 NOT NULL, seed bigint NOT NULL)"


@dataclass(frozen=True)
class Step:
    """``do`` writes everything of its step and says in one line what it made."""

    code: str
    do: Callable[[Demo], str]


STEPS = (
    Step("places", places.make),
    Step("people", people.make),
    Step("subjects", subjects.make),
    Step("accounts", accounts.make),
    Step("contracts", contracts.make),
    Step("history", history.make),
    Step("values", live.last_values),
    Step("live", live.make),
    Step("charts", charts.make),
    Step("vehicles", vehicles.make),
)


def standing() -> tuple[float, int] | None:
    """Scale and seed of the demo city that stands, whole or in part."""
    with connection.cursor() as cursor:
        cursor.execute(TABLE)
        cursor.execute("SELECT scale, seed FROM demo_city LIMIT 1")
        row = cursor.fetchone()
    return (float(row[0]), int(row[1])) if row else None


def build(demo: Demo) -> int:
    """Do the steps that are missing; returns how many were done."""
    done = 0
    for step in STEPS:
        began = time.monotonic()
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
            cursor.execute(TABLE)
            cursor.execute("SELECT 1 FROM demo_city WHERE step = %s", [step.code])
            if cursor.fetchone():
                continue
            made = step.do(demo)
            cursor.execute("INSERT INTO demo_city VALUES (%s, %s, %s)", [step.code, demo.scale, demo.seed])
        done += 1
        demo.say(f"demo: {made} ({time.monotonic() - began:.1f} s)")
    _analyse(done)
    accounts.keep_known()
    return done


def _analyse(done: int) -> None:
    """Fresh tables have no statistics, and the planner would read them row by row."""
    if done and not connection.in_atomic_block:
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
