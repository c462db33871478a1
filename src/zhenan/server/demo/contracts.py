"""Who answers for which subject, and the visits they made; a small share is left without anyone, to be found."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from zhenan.domains.duty.models import Contract, Visit
from zhenan.domains.duty.queries import ROLES_OF, required_levels
from zhenan.domains.duty.services import VISIT, new_contract, visit_due
from zhenan.domains.register.models import Subject
from zhenan.kernel.events.models import key_of
from zhenan.kernel.people.models import Post, User
from zhenan.kernel.people.roles import roles
from zhenan.kernel.workflow.models import Deadline
from zhenan.packkit.schema import DutyLevel
from zhenan.server.demo.copying import copy_in, give_ids
from zhenan.server.demo.plan import CHUNK, HISTORY_DAYS, SOURCE, Demo, chunks, keep_deadlines, tell_all

NOBODY_RATIO = 0.012  # of (subject, level): nobody signed, the coverage page finds them
LATE_RATIO = 0.04  # of contracts with visits: the last one is overdue
NOTES = (
    "已走访，未见异常",
    "现场查看用火用电，情况正常",
    "宣传安全常识，发放告知书",
    "查看设施运行和台账",
    "提醒落实岗位责任",
)


@dataclass
class Posted:
    """People by role and by where their post lies: a division's path or an organisation."""

    by_path: dict[tuple[str, str], list[tuple[User, list[str]]]]
    by_organisation: dict[tuple[str, int], list[tuple[User, list[str]]]]
    users: dict[int, User]
    offices: dict[int, int]  # person → the organisation of their first post

    def at(self, subject: Subject, level: str) -> list[User]:
        """Everyone whose post makes them answer for the subject at a level: those of the innermost division."""
        return next((found for role in ROLES_OF.get(level, ()) if (found := self.holders(subject, role))), [])

    def holders(self, subject: Subject, role: str) -> list[User]:
        """Everyone who holds the role for a subject: in its organisations, or in the innermost division."""
        found: list[tuple[User, list[str]]] = []
        if roles()[role].reach == "organisation":
            for organisation in subject.place["organisations"]:
                found = found or self.by_organisation.get((role, organisation), [])
        else:
            codes = subject.division.path.strip("/").split("/")
            for depth in range(len(codes), 0, -1):
                found = found or self.by_path.get((role, "/".join(codes[:depth]) + "/"), [])
        return [user for user, programmes in found if not programmes or subject.programme in programmes]


def posted() -> Posted:
    """Everyone in post, read once."""
    by_path: dict[tuple[str, str], list[tuple[User, list[str]]]] = defaultdict(list)
    by_organisation: dict[tuple[str, int], list[tuple[User, list[str]]]] = defaultdict(list)
    users: dict[int, User] = {}
    offices: dict[int, int] = {}
    for post in Post.objects.select_related("user", "division").defer("division__boundary").order_by("pk"):
        user = users.setdefault(post.user_id, post.user)
        by_path[(post.role, post.division.path)].append((user, post.programmes))
        by_organisation[(post.role, post.organisation_id)].append((user, post.programmes))
        offices.setdefault(user.pk, post.organisation_id)
    return Posted(by_path, by_organisation, users, offices)


def demo_subjects() -> Iterator[list[Subject]]:
    """The demo's subjects with their divisions, a chunk at a time."""
    rows = Subject.objects.filter(source=SOURCE).select_related("division").defer("division__boundary").order_by("pk")
    return chunks(rows.iterator(chunk_size=CHUNK), CHUNK // 4)


def make(demo: Demo) -> str:
    """A contract for each subject at each level that the packs require, with the visits of the last months."""
    people, signer = posted(), _signer()
    signed = visits = missing = 0
    for subjects in demo_subjects():
        contracts = []
        for subject in subjects:
            for level, asked in required_levels(subject.type).items():
                contract = _contract(demo, people, subject, level, asked, signer)
                missing += contract is None
                contracts += [contract] if contract else []
        visits += _write(demo, contracts)
        tell_all(_told(c, "duty.signed", c.signed_at, signer) for c in contracts)
        signed += len(contracts)
    return f"{signed} contracts ({missing} left open on purpose), {visits} visits"


def _signer() -> User:
    office = Post.objects.filter(role="city_office").select_related("user").order_by("pk").first()
    if office is None:
        raise ValueError("the demo city has no city office; its people are made first")
    return office.user


def _contract(
    demo: Demo, people: Posted, subject: Subject, level: str, asked: DutyLevel, signer: User
) -> Contract | None:
    holders = people.at(subject, level)
    if not holders or demo.chance("nobody", subject.key, level) < NOBODY_RATIO:
        return None
    person = demo.one_of(holders, "holder", subject.division.path.rsplit("/", 2)[0], subject.programme, level)
    signed_at = demo.day_time(160 + int(300 * demo.chance("signed", subject.key, level)), "signed", subject.key, level)
    return new_contract(
        subject=subject, level=level, person=person, begins_on=signed_at.date(), ends_on=None,
        visit_every_days=asked.visit_every_days or 0, source="安全生产包干责任书（演示）", by=signer, at=signed_at,
    )  # fmt: skip


def _write(demo: Demo, contracts: Sequence[Contract]) -> int:
    """Write contracts with their visits and the time limit of the next one; returns how many visits."""
    give_ids(contracts)
    visits: list[Visit] = []
    deadlines: list[Deadline] = []
    missed: list[dict[str, Any]] = []
    for contract in contracts:
        if not contract.visit_every_days:
            continue
        mine = list(_visits_of(demo, contract))
        visits += mine
        contract.last_visit_at = mine[-1].made_at if mine else None
        start = contract.last_visit_at or contract.signed_at
        due = visit_due(contract, start)
        if due is not None:
            deadlines.append(
                Deadline(target=key_of(contract), kind=VISIT, owner=contract.person, started_at=start, due_at=due,
                         **contract.place)
            )  # fmt: skip
            missed += [_told(contract, "duty.visit_missed", due, None)] if due < demo.now else []
    copy_in(contracts)
    copy_in(visits)
    keep_deadlines(deadlines, demo.now)
    tell_all(_told(v.contract, "duty.visited", v.made_at, v.contract.person, note=v.note) for v in visits)
    tell_all(missed)
    return len(visits)


def _visits_of(demo: Demo, contract: Contract) -> Iterator[Visit]:
    """The visits of the last months, the oldest first; the newest within the cadence, or somewhat late."""
    every, words = int(contract.visit_every_days or 0), (contract.subject.key, contract.level)
    late = demo.chance("late", *words) < LATE_RATIO
    ago = int(every * (1.15 + 0.5 * demo.chance("ago", *words)) if late else (every - 2) * demo.chance("ago", *words))
    days = [ago]
    while days[-1] + every < HISTORY_DAYS + every // 2:
        days.append(days[-1] + max(2, round(every * (0.8 + 0.2 * demo.chance("gap", *words, len(days))))))
    due: datetime | None = None
    for day in reversed(days):
        made_at = demo.day_time(max(day, 0), "visit", *words)
        if made_at <= contract.signed_at:
            continue
        lon, lat, metres = _nearby(demo, contract.subject, *words, day)
        yield Visit(
            contract=contract, person=contract.person, made_at=made_at, due_at=due, lon=lon, lat=lat, distance_m=metres,
            note=demo.one_of(NOTES, "note", *words, day),
        )  # fmt: skip
        due = visit_due(contract, made_at)


def _nearby(demo: Demo, subject: Subject, *words: object) -> tuple[float | None, float | None, float | None]:
    """Where the visitor stood: some metres from the door."""
    if subject.lon is None or subject.lat is None:
        return None, None, None
    east, north = 40 * demo.chance("east", *words) - 20, 40 * demo.chance("north", *words) - 20
    metres = (east**2 + north**2) ** 0.5
    return round(subject.lon + east / 94_300, 6), round(subject.lat + north / 111_200, 6), round(metres, 1)


def _told(contract: Contract, kind: str, at: datetime, actor: User | None, **data: Any) -> dict[str, Any]:
    return {
        "kind": kind,
        "targets": [contract, contract.subject],
        "actor_id": actor.pk if actor else None,
        "at": at,
        "data": {"person": str(contract.person), "level": contract.level, "subject": str(contract.subject), **data},
        **contract.place,
    }
