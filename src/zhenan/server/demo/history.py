"""The last months: inspections, alarms, and the hazards that came of them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from django.utils import timezone

from zhenan.domains.register.models import Subject
from zhenan.kernel.notices.models import Notice
from zhenan.kernel.people.models import User
from zhenan.packkit import hazard_words
from zhenan.packkit.registry import registry
from zhenan.packkit.schema import CheckItem, Checklist
from zhenan.server.demo import accounts, alarms, closed, inspections, stories
from zhenan.server.demo.cases import Case, gather
from zhenan.server.demo.contracts import Posted, posted
from zhenan.server.demo.plan import PREFIX, SOURCE, Demo

READ_AFTER = timedelta(days=3)  # older notices were read
HERE = ("idle", "unchecked", "unplanned")  # at the chosen places: one to rectify, one to check, one to plan


def make(demo: Demo) -> str:
    """Write the months before now."""
    people = posted()
    inspected, found = inspections.make(demo, people)
    inspections.photograph(found)
    raised, grave = alarms.make(demo, people)
    cases = sorted([*gather(demo, found, grave), *_at_chosen_places(demo, people)], key=lambda c: (c.found_at, c.key))
    past, told = stories.split(demo, cases)
    count = closed.write(demo, people, past)
    steps = stories.tell(demo, people, told)
    unread = Notice.objects.filter(recipient__posts__organisation__code__startswith=PREFIX, read_at=None)
    unread.filter(created_at__lt=demo.now - READ_AFTER).update(read_at=timezone.now())
    return f"{inspected} inspections, {raised} past alarms, {count} closed hazards, {len(told)} told in {steps} steps"


def _at_chosen_places(demo: Demo, people: Posted) -> list[Case]:
    """Hazards in fixed states at the places around which the accounts are, so that every account has work."""
    _grid, subjects = accounts.chosen_place()
    found = [case for subject in subjects for case in _listed(demo, people, subject)]
    for subject in subjects:
        lists = registry().checklists(subject_type=subject.type)
        worker = next(iter(people.holders(subject, "grid_worker")), None)
        for number, fate in enumerate(HERE if lists and worker else ()):
            item = [i for i in lists[0].items if i.severity_if_failed == "general"][-1 - number]
            found.append(_found(demo, subject, lists[0], item, worker, fate, days_ago=16 - 3 * number))
    return found


def _listed(demo: Demo, people: Posted, like: Subject) -> Iterator[Case]:
    """A major hazard under listed supervision at another place of the same kind."""
    rows = Subject.objects.filter(source=SOURCE, type=like.type).exclude(pk=like.pk).select_related("division")
    place = rows.defer("division__boundary").order_by("key").first()
    lists = registry().checklists(subject_type=like.type)
    worker = next(iter(people.holders(place, "town_office")), None) if place else None
    item = next((i for i in lists[0].items if i.severity_if_failed == "major"), None) if lists else None
    if place and worker and item:
        yield _found(demo, place, lists[0], item, worker, "under_listing", days_ago=15)


def _found(
    demo: Demo, subject: Subject, checklist: Checklist, item: CheckItem, by: User | None, fate: str, *, days_ago: int
) -> Case:
    return Case(
        subject=subject, source="inspection", source_key="", severity=item.severity_if_failed,
        found_at=demo.day_time(days_ago, "here", subject.key, fate), by=by, fate=fate,
        description="日常巡查发现", location="" if subject.owner_id else "一层北侧",
        **hazard_words.of_failed_item(checklist.code, item.code),
    )  # fmt: skip
