"""Who is responsible, on any day; where nobody is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from django.db.models import Count, Exists, OuterRef, Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from zhenan.domains.duty.models import LEVELS, Contract, level_label, rank
from zhenan.domains.register.models import Subject
from zhenan.kernel.people.models import Post, User
from zhenan.packkit.registry import registry
from zhenan.packkit.schema import DutyLevel

# The levels by which things climb, and the role whose holders stand in where no contract names a person.
CLIMB = ("grid", "town", "district", "city_leader")
ROLES_OF = {
    "enterprise": ("enterprise_head", "enterprise_safety"),
    "service_centre": ("service_centre_operator",),
    "grid": ("grid_worker",),
    "town": ("town_office",),
    "district": ("district_office",),
    "department": ("department",),
    "city_leader": ("city_office",),
}


@dataclass(frozen=True)
class Link:
    """One level of a chain; ``person`` None: the level is required and nobody holds it."""

    level: str
    person: User | None
    contract: Contract | None

    @property
    def label(self) -> str:
        return level_label(self.level)


@dataclass(frozen=True)
class Nearest:
    """Whoever is to act; ``contract`` None: found by post, because no contract names anyone at the level."""

    level: str
    people: tuple[User, ...]
    contract: Contract | None = None

    @property
    def person(self) -> User | None:
        return self.people[0] if self.people else None

    @property
    def how(self) -> str:
        """How the person was found, in words."""
        if not self.people:
            return _("nobody is responsible: no contract and no post at any level")
        if self.contract is not None:
            return _("%(level)s level, by contract") % {"level": level_label(self.level)}
        return _("%(level)s level, by post: no contract names anyone there") % {"level": level_label(self.level)}


def chain_on(subject: Subject, day: date, *, gaps: bool = False) -> list[Link]:
    """Who was responsible on that day, nearest level first; with ``gaps`` also the required levels that nobody held."""
    held = subject.contracts.in_force(day).select_related("person").order_by("pk")
    links = {c.level: Link(c.level, c.person, c) for c in held}
    if gaps:
        for level in required_levels(subject.type):
            links.setdefault(level, Link(level, None, None))
    return sorted(links.values(), key=lambda link: (rank(link.level), link.level))


def responsible(subject: Subject, level: str, at: datetime | date) -> User | None:
    """The one person who held the level at that time, by contract alone."""
    contract = subject.contracts.in_force(_day(at)).filter(level=level).select_related("person").first()
    return contract.person if contract else None


def people_at(subject: Subject, level: str, at: datetime | date) -> Nearest:
    """The contract's person at a level, else everyone whose post covers the subject at that level."""
    contract = subject.contracts.in_force(_day(at)).filter(level=level).select_related("person").first()
    if contract is not None and contract.person.is_active:
        return Nearest(level, (contract.person,), contract)
    return Nearest(level, tuple(in_post(subject, level, _day(at))))


def nearest_responsible(subject: Subject, at: datetime | date, *, levels: Iterable[str] = CLIMB) -> Nearest:
    """The nearest level at which someone answers, by contract or else by post; without people when there is nobody."""
    level = ""
    for level in levels:
        found = people_at(subject, level, at)
        if found.people:
            return found
    return Nearest(level, ())


def above(subject: Subject, level: str, steps: int, at: datetime | date) -> Nearest:
    """Whoever answers ``steps`` rungs above a level; where a rung is empty, the next one that is not."""
    higher = [name for name in CLIMB if rank(name) > rank(level)] or ["city_leader"]
    return nearest_responsible(subject, at, levels=higher[min(steps, len(higher)) - 1 :])


def in_post(subject: Subject, level: str, day: date) -> list[User]:
    """People whose post on that day makes them answer for the subject at a level: the innermost division's first."""
    roles = ROLES_OF.get(level, ())
    if not roles:
        return []
    posts = Post.objects.held_on(day).filter(role__in=roles, user__is_active=True)
    if level == "enterprise":
        posts = posts.filter(organisation=subject.organisation)
    elif level == "service_centre":
        posts = posts.filter(organisation_id__in=subject.viewers)
    else:
        posts = posts.filter(division__code__in=subject.division.path.strip("/").split("/"))
    posts = posts.filter(Q(programmes=[]) | Q(programmes__contains=[subject.programme]))
    found = list(posts.select_related("user", "division"))
    innermost = max((len(p.division.path) for p in found), default=0)
    found = [p for p in found if level in ("enterprise", "service_centre") or len(p.division.path) == innermost]
    found.sort(key=lambda p: (roles.index(p.role), p.pk))
    return list({p.user_id: p.user for p in found}.values())


def required_levels(subject_type: str) -> dict[str, DutyLevel]:
    """The levels that packs require for a type of subject; the shortest cadence where two packs ask for one."""
    found: dict[str, DutyLevel] = {}
    for duty in registry().duties(subject_type=subject_type):
        for entry in duty.levels:
            known = found.get(entry.level)
            if known is None or (entry.visit_every_days or 10**6) < (known.visit_every_days or 10**6):
                found[entry.level] = entry
    return found


def types_by_level() -> dict[str, list[str]]:
    """Level → the subject types for which some pack requires it; levels in the chain's order."""
    found: dict[str, set[str]] = {}
    for duty in registry().duties():
        for entry in duty.levels:
            found.setdefault(entry.level, set()).update(duty.subject_types)
    return {level: sorted(found[level]) for level in sorted(found, key=lambda name: (rank(name), name))}


def bound(user: Any, level: str) -> QuerySet[Subject]:
    """The visible subjects for which someone must answer at the level."""
    rows: QuerySet[Subject] = Subject.objects.visible_to(user).active().of_type(*types_by_level().get(level, ()))
    return rows


def gaps(user: Any, level: str, day: date | None = None) -> QuerySet[Subject]:
    """The visible subjects for which nobody answers at a required level on the day (today)."""
    held = Contract.objects.filter(subject=OuterRef("pk"), level=level).in_force(day or timezone.localdate())
    return bound(user, level).filter(~Exists(held))


@dataclass(frozen=True)
class Cell:
    """One level in one division: how many subjects need a person, and how many of them have nobody."""

    level: str
    required: int
    missing: int


def coverage(user: Any, path: str, day: date | None = None) -> dict[str, dict[str, Cell]]:
    """Division code just below ``path`` → level → Cell; "" stands for subjects placed at ``path`` itself."""
    table: dict[str, dict[str, Cell]] = {}
    for level in types_by_level():
        needed = _by_child(bound(user, level), path)
        lacking = _by_child(gaps(user, level, day), path)
        for code, count in needed.items():
            table.setdefault(code, {})[level] = Cell(level, count, lacking.get(code, 0))
    return table


def _by_child(rows: QuerySet[Subject], path: str) -> dict[str, int]:
    counts: dict[str, int] = {}
    inside = rows.filter(division__path__startswith=path).order_by()
    for at, count in inside.values_list("division__path").annotate(n=Count("pk")):
        child = at[len(path) :].split("/", 1)[0]
        counts[child] = counts.get(child, 0) + count
    return counts


def load_of(person: User, at: datetime) -> QuerySet[Contract]:
    """The person's contracts of the day."""
    rows: QuerySet[Contract] = Contract.objects.filter(person=person).in_force(timezone.localdate(at))
    return rows.select_related("subject__division")


def missing_count(user: Any, day: date | None = None) -> int:
    """Over all levels, how many (subject, level) pairs have nobody."""
    return sum(gaps(user, level, day).count() for level in types_by_level())


def _day(at: datetime | date) -> date:
    return timezone.localdate(at) if isinstance(at, datetime) else at


__all__ = ["CLIMB", "LEVELS", "Cell", "Link", "Nearest", "above", "bound", "chain_on", "coverage", "gaps", "in_post",
           "load_of", "missing_count", "nearest_responsible", "people_at", "required_levels", "responsible",
           "types_by_level"]  # fmt: skip
