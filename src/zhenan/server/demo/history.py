"""The last months: inspections, alarms, and the hazards that came of them."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from zhenan.kernel.notices.models import Notice
from zhenan.packkit.registry import registry
from zhenan.server.demo import accounts, alarms, closed, inspections, stories
from zhenan.server.demo.cases import Case, gather
from zhenan.server.demo.contracts import Posted, posted
from zhenan.server.demo.plan import PREFIX, Demo

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
    found = []
    for subject in subjects:
        lists = registry().checklists(subject_type=subject.type)
        worker = next(iter(people.holders(subject, "grid_worker")), None)
        for number, fate in enumerate(HERE if lists and worker else ()):
            item = [i for i in lists[0].items if i.severity_if_failed == "general"][-1 - number]
            found.append(
                Case(
                    subject=subject, source="inspection", source_key="", title=item.text.zh, severity="general",
                    found_at=demo.day_time(16 - 3 * number, "here", subject.key, fate), by=worker, fate=fate,
                    criterion_text=item.criterion.zh, legal_basis=item.basis.article, description="网格员巡查发现",
                )
            )  # fmt: skip
    return found
