"""Offices, departments and everyone who works in them. Names, telephones and bodies marked so are invented."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date

from zhenan.kernel.people.models import Organisation, Post, User
from zhenan.kernel.territory.models import Division
from zhenan.packkit import synthetic
from zhenan.packkit.registry import registry
from zhenan.server.demo.copying import copy_in
from zhenan.server.demo.plan import PREFIX, Demo

OFFICERS = 5_000  # of all offices together, grid workers included
SINCE = date(2021, 1, 1)
INVENTED = "（虚构）"


@dataclass(frozen=True)
class Body:
    """An organisation to make, without its people."""

    code: str
    kind: str
    name: str
    division: Division
    programme: str = ""
    phone: str = ""


@dataclass(frozen=True)
class Job:
    """A person to make, in a post. ``body``: the organisation's code."""

    username: str
    role: str
    body: str
    division: Division
    title: str
    programmes: tuple[str, ...] = ()
    name: str = ""
    phone: str = ""


@dataclass
class Staff:
    """What is to be made, gathered."""

    bodies: list[Body] = field(default_factory=list)
    jobs: list[Job] = field(default_factory=list)


def make(demo: Demo) -> str:
    """City office, departments, districts, towns, grids, insurer, experts, discipline inspection."""
    divisions = list(Division.objects.filter(level__in=("city", "county", "town", "grid")).order_by("code"))
    staff = Staff()
    _city(demo, next(d for d in divisions if d.level == "city"), staff)
    _offices(demo, divisions, staff)
    write(demo, staff.bodies, staff.jobs)
    return f"{len(staff.bodies)} offices, {len(staff.jobs)} officers"


def write(demo: Demo, bodies: Iterable[Body], jobs: Sequence[Job]) -> dict[str, int]:
    """Write organisations, people and posts; organisation code → id of those just written."""
    made = copy_in(
        [
            Organisation(
                code=b.code, kind=b.kind, name=b.name, division=b.division, programme=b.programme, phone=b.phone
            )
            for b in bodies
        ]
    )
    ids = {body.code: body.pk for body in made}
    codes = {job.body for job in jobs} - set(ids)
    ids |= dict(Organisation.objects.filter(code__in=codes).values_list("code", "pk")) if codes else {}
    users = copy_in([_user(demo, job) for job in jobs])
    copy_in(
        [
            Post(user=user, organisation_id=ids[job.body], role=job.role, division=job.division, title=job.title,
                 programmes=list(job.programmes), since=SINCE)
            for user, job in zip(users, jobs, strict=True)
        ]
    )  # fmt: skip
    return ids


def _user(demo: Demo, job: Job) -> User:
    """Someone who cannot sign in: the accounts that can are chosen later."""
    rng = demo.rng("person", job.username)
    user = User(
        username=job.username,
        name=job.name or synthetic.person(rng),
        phone=job.phone or synthetic.phone(rng),
        date_joined=demo.now,
    )
    user.password = "!"  # noqa: S105  no hash: no password fits
    return user


def _city(demo: Demo, city: Division, staff: Staff) -> None:
    few = max(2, round(12 * demo.scale))
    bodies = [
        (Body(f"{PREFIX}office", "city_office", "镇江市安全生产委员会办公室", city), "city_office", "科员", few),
        (Body(f"{PREFIX}it", "city_office", "镇江市应急管理信息中心", city), "administrator", "系统管理员", 1),
        (
            Body(f"{PREFIX}discipline", "discipline", "派驻市应急管理局纪检监察组", city),
            "discipline_inspector",
            "纪检员",
            2,
        ),
        (
            Body(f"{PREFIX}insurer", "insurer", f"京江财产保险镇江中心支公司{INVENTED}", city),
            "insurer",
            "安责险专员",
            few,
        ),
        (Body(f"{PREFIX}experts", "expert_team", "镇江市安全生产专家组", city), "expert", "专家", few),
    ]
    for body, role, title, count in bodies:
        staff.bodies.append(body)
        staff.jobs += _several(body, role, title, count)
    for pack in registry().packs.values():
        body = Body(
            f"{PREFIX}dept-{pack.code}", "department", pack.department.label("zh-hans")[:200], city, programme=pack.code
        )
        staff.bodies.append(body)
        staff.jobs += _several(body, "department", "科员", max(2, round(20 * demo.scale)), programmes=(pack.code,))


def _offices(demo: Demo, divisions: Sequence[Division], staff: Staff) -> None:
    """Districts, towns and grids; the towns' officers fill up to the city's number."""
    counties = [d for d in divisions if d.level == "county"]
    towns = [d for d in divisions if d.level == "town"]
    grids = [d for d in divisions if d.level == "grid"]
    of_county = max(2, round(60 * demo.scale))
    left = round(OFFICERS * demo.scale) - len(staff.jobs) - len(grids) - of_county * len(counties)
    of_town = synthetic.shares(max(2 * len(towns), left), [1.0] * len(towns), least=2)
    for county in counties:
        body = Body(f"{PREFIX}district-{county.code}", "district_office", f"{county.name}应急管理局", county)
        staff.bodies.append(body)
        staff.jobs += _several(body, "district_office", "监管科科员", of_county)
    for town, count in zip(towns, of_town, strict=True):
        body = Body(f"{PREFIX}town-{town.code}", "town_office", f"{town.name}应急管理办公室", town)
        staff.bodies.append(body)
        staff.jobs += _several(body, "town_office", "安全监管员", count)
    for grid in grids:
        office = f"{PREFIX}town-{grid.code[:9]}"
        staff.jobs.append(
            Job(f"grid-{grid.code}", "grid_worker", office, grid, "网格员（安全员、灾情信息员、应急联络员）")
        )


def _several(body: Body, role: str, title: str, count: int, *, programmes: tuple[str, ...] = ()) -> Iterator[Job]:
    """The first of several is the head of the office."""
    name = body.code.removeprefix(PREFIX)
    for i in range(1, count + 1):
        yield Job(
            f"{name}-{i}", role, body.code, body.division, "负责人" if i == 1 and count > 1 else title, programmes
        )
