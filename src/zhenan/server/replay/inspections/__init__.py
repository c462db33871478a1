"""`zhenan replay inspections DIR`: a county's public inspection records become inspections, hazards and rechecks.

Facilities become subjects of the example pack food_premises, visits inspections, violations hazards that go through the
loop as of their days. Safe to run again: what is there already stays as it is.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from django.db import transaction
from django.utils import timezone

from zhenan.domains.hazards.models import Hazard
from zhenan.domains.register.models import Subject
from zhenan.kernel.errors import DomainError
from zhenan.server.replay.inspections import bulk, county, figures, loop, visits
from zhenan.server.replay.inspections.county import PackMissing, Place
from zhenan.server.replay.inspections.items import Items
from zhenan.server.replay.inspections.lives import is_mark, lives_of
from zhenan.server.replay.inspections.records import BadRecords, Records, read
from zhenan.server.replay.tables import say

CHUNK = 250  # facilities in one transaction
BY_SERVICES = 300  # violations up to which the services themselves do it, unless told otherwise


@dataclass
class Done:
    """What a run wrote."""

    facilities: int = 0
    visits: int = 0
    hazards: int = 0
    marks: int = 0
    unchanged: int = 0
    grown: int = 0  # facilities with visits that an earlier run did not have: left alone


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "dir", type=Path, metavar="DIR", help="folder with sanmateo_{facilities,inspections,violations}.csv"
    )
    parser.add_argument("--limit", type=int, default=0, metavar="N", help="the first N facilities alone")
    parser.add_argument(
        "--by", choices=("auto", "services", "bulk"), default="auto",
        help=f"write through the hazard services, or the same rows in bulk (auto: bulk above {BY_SERVICES} violations)",
    )  # fmt: skip


def run(asked: argparse.Namespace) -> int:
    """Exit status 0: all records are in the database; 2: they cannot be read, or the pack is missing."""
    began = time.monotonic()
    logging.getLogger("zhenan").setLevel(logging.WARNING)  # an event a hazard would be a line a hazard
    try:
        records = read(asked.dir)
        done = take_in(records.first(asked.limit) if asked.limit else records, by=asked.by)
    except (BadRecords, PackMissing, DomainError) as err:
        sys.stderr.write(f"zhenan replay inspections: {err}\n")
        return 2
    say(
        f"{done.facilities:,} facilities, {done.visits:,} inspections, {done.hazards:,} hazards written; "
        f"{done.unchanged:,} facilities were there already ({time.monotonic() - began:.1f} s)"
    )
    if done.marks:
        say(f"{done.marks:,} lines are the office's own marks (C1 Referral, E3 Hearing …): kept as notes of the visit")
    if done.grown:
        say(f"{done.grown:,} facilities have visits that an earlier run did not have; these were left out")
    figures.print_all(records.first(asked.limit) if asked.limit else records)
    return 0


def take_in(records: Records, *, by: str = "auto") -> Done:
    """Write what is not there yet, so many facilities a transaction."""
    place = county.prepare()
    items, done = Items(place.form), Done()
    lines = sum(len(visit.violations) for visit in records.all_visits)
    through_services = by == "services" or (by == "auto" and lines <= BY_SERVICES)
    if not through_services:
        say(f"{lines:,} violations: written in bulk, as the hazard services would have written them")
    for start in range(0, len(records.facilities), CHUNK):
        chunk = records.facilities[start : start + CHUNK]
        with transaction.atomic():
            subjects, fresh = county.register(chunk, place, at=timezone.now())
            done.facilities += fresh
            part = Records(chunk, {one.number: records.visits.get(one.number, ()) for one in chunk})
            _chunk(part, subjects, items, place, done, through_services)
    return done


def _chunk(
    part: Records, subjects: dict[str, Subject], items: Items, place: Place, done: Done, through_services: bool
) -> None:
    new = _not_known(part, place, done)
    lives = {number: lives_of(part.visits.get(number, ()), items.criterion_of) for number in new}
    if through_services:
        found: dict[str, Hazard] = {}
        for number, of_facility in lives.items():
            found |= loop.carry_out(of_facility, subjects[number], items, place)
    else:
        found = bulk.carry_out(lives, subjects, items, place)
    fresh = [visit for number in new for visit in part.visits.get(number, ())]
    visits.write(fresh, subjects, items, place, found)
    done.visits += len(fresh)
    done.hazards += sum(map(len, lives.values()))
    done.marks += sum(is_mark(violation) for visit in fresh for violation in visit.violations)


def _not_known(part: Records, place: Place, done: Done) -> Sequence[str]:
    """The facilities none of whose visits was written before."""
    known = visits.known_visits(list(part.all_visits), place)
    new = []
    for facility in part.facilities:
        numbers = {visit.number for visit in part.visits.get(facility.number, ())}
        if not numbers & known:
            new.append(facility.number)
            continue
        done.unchanged += numbers <= known
        done.grown += not numbers <= known
    return new


__all__ = ["add_arguments", "run", "take_in"]
