"""The population that the packs' simulations invent: subjects, their own organisations and people, devices, points."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from zhenan.domains.monitoring.devices import announce_change, end_of_life, fixed_channels, points_for
from zhenan.domains.monitoring.models import Device, Point
from zhenan.domains.register.models import Subject
from zhenan.kernel.people.models import Organisation
from zhenan.kernel.people.roles import roles
from zhenan.kernel.territory.models import Division
from zhenan.packkit.registry import registry
from zhenan.packkit.schema import DeviceModel
from zhenan.packkit.simulate import (
    DeviceSpec,
    OrganisationSpec,
    SimulationContext,
    Spec,
    SubjectSpec,
    Town,
    module_of,
)
from zhenan.server.demo import people, places
from zhenan.server.demo.copying import copy_in
from zhenan.server.demo.plan import CHUNK, PREFIX, SOURCE, Demo, chunks, tell_all

OPERATORS = 4  # of a service organisation: three shifts and one spare
SAFETY_RATIO = 0.3  # of enterprises with a safety officer besides the head
INSURED_RATIO = 0.4
EXPERT_RATIO = 0.05


@dataclass
class Where:
    """Divisions by code, and the grids of each town with their places."""

    divisions: dict[str, Division]
    grids: dict[str, list[Division]]

    def grid_near(self, town: str, lon: float, lat: float) -> Division:
        """The grid of the town whose place is nearest; the town itself where it has none."""
        near = self.grids.get(town)
        if not near:
            return self.divisions[town]
        return min(near, key=lambda g: ((g.lon or 0) - lon) ** 2 + ((g.lat or 0) - lat) ** 2)


@dataclass
class Made:
    """What became of the specs, for those that refer to them."""

    organisations: dict[str, int] = field(default_factory=dict)  # key of a pack's organisation → id
    subjects: dict[str, Subject] = field(default_factory=dict)
    senders: dict[str, Device] = field(default_factory=dict)  # key → device that speaks for itself
    devices: int = 0
    points: int = 0


def populations(context: SimulationContext) -> Iterator[tuple[str, Iterator[Spec]]]:
    """(pack, its invented population) of every pack that has one, in the order of their names."""
    for code, folder in sorted(registry().folders.items()):
        module = module_of(folder)
        if module is not None:
            yield code, module.population(context)


def make(demo: Demo) -> str:
    """Write every pack's population."""
    where = _where()
    made = Made()
    for _pack, specs in populations(demo.simulation(places.towns_of(demo), places.within())):
        for chunk in _by_subject(specs):
            _write(demo, where, chunk, made)
    announce_change()
    return f"{len(made.subjects)} subjects, {made.devices} devices, {made.points} points"


def _where() -> Where:
    rows = list(Division.objects.filter(level__in=("county", "town", "grid")).order_by("code").defer("boundary"))
    codes = {d.pk: d.code for d in rows}
    grids: dict[str, list[Division]] = defaultdict(list)
    for division in rows:
        if division.level == "grid" and division.parent_id in codes:
            grids[codes[division.parent_id]].append(division)
    return Where({d.code: d for d in rows}, grids)


def _by_subject(specs: Iterable[Spec]) -> Iterator[list[Spec]]:
    """Chunks that never part a subject from its devices."""
    waiting: list[Spec] = []
    for spec in specs:
        if len(waiting) >= 4 * CHUNK and not isinstance(spec, DeviceSpec):
            yield waiting
            waiting = []
        waiting.append(spec)
    if waiting:
        yield waiting


def _write(demo: Demo, where: Where, chunk: list[Spec], made: Made) -> None:
    organisations = [s for s in chunk if isinstance(s, OrganisationSpec)]
    subjects = [s for s in chunk if isinstance(s, SubjectSpec)]
    devices = [s for s in chunk if isinstance(s, DeviceSpec)]
    if organisations:
        made.organisations |= _write_organisations(demo, where, organisations)
    if subjects:
        made.subjects |= _write_subjects(demo, where, subjects, made)
    made.devices += len(devices)
    for several in chunks(devices):
        made.points += _write_devices(several, made)


def _write_organisations(demo: Demo, where: Where, specs: list[OrganisationSpec]) -> dict[str, int]:
    """A pack's own organisations, with operators in the role named after their kind where there is one."""
    bodies: list[people.Body] = []
    jobs: list[people.Job] = []
    for spec in specs:
        code = f"{PREFIX}{spec.key}"
        town = where.divisions[spec.division_code]
        bodies.append(people.Body(code, spec.kind, spec.name, town, phone=spec.phone))
        role = next((r for r in roles() if r.startswith(spec.kind)), None)
        if role:
            jobs += [people.Job(f"{spec.key}-{i}", role, code, town, "值班员") for i in range(1, OPERATORS + 1)]
    ids = people.write(demo, bodies, jobs)
    return {spec.key: ids[f"{PREFIX}{spec.key}"] for spec in specs}


def _write_subjects(demo: Demo, where: Where, specs: list[SubjectSpec], made: Made) -> dict[str, Subject]:
    shared = dict(
        Organisation.objects.filter(code__in=(f"{PREFIX}insurer", f"{PREFIX}experts")).values_list("code", "pk")
    )
    grids = {s.key: where.grid_near(s.town_code, s.lon, s.lat) for s in specs}
    bodies: list[people.Body] = []
    jobs: list[people.Job] = []
    for spec in specs:
        if spec.parent_key:
            continue  # it belongs to the organisation of what it stands under
        code = f"{PREFIX}{spec.key}"
        bodies.append(people.Body(code, "enterprise", spec.name[:200], grids[spec.key], spec.type.partition(".")[0]))
        jobs += _own_people(demo, spec, code, grids[spec.key])
    ids = people.write(demo, bodies, jobs)
    rows: list[Subject] = []
    known = dict(made.subjects)
    for spec in specs:
        viewers = [
            made.organisations[v] for v in spec.attributes.values() if isinstance(v, str) and v in made.organisations
        ]
        if demo.chance("insured", spec.key) < INSURED_RATIO:
            viewers.append(shared[f"{PREFIX}insurer"])
        if demo.chance("expert", spec.key) < EXPERT_RATIO:
            viewers.append(shared[f"{PREFIX}experts"])
        own = ids.get(f"{PREFIX}{spec.key}")
        rows.append(_subject(spec, grids[spec.key], own, viewers, known))
        known[spec.key] = rows[-1]
    copy_in([row for row in rows if row.owner is None])
    copy_in([row for row in rows if row.owner is not None])
    tell_all(_created(demo, subject) for subject in rows)
    return {subject.key: subject for subject in rows}


def _own_people(demo: Demo, spec: SubjectSpec, code: str, grid: Division) -> Iterator[people.Job]:
    contact = spec.contact
    yield people.Job(
        f"{spec.key}-head", "enterprise_head", code, grid, contact.post if contact else "负责人",
        name=contact.name if contact else "", phone=contact.phone if contact else "",
    )  # fmt: skip
    if demo.chance("safety", spec.key) < SAFETY_RATIO:
        yield people.Job(f"{spec.key}-safety", "enterprise_safety", code, grid, "安全员")


def _subject(
    spec: SubjectSpec, grid: Division, organisation: int | None, viewers: list[int], known: dict[str, Subject]
) -> Subject:
    owner = known[spec.parent_key] if spec.parent_key else None
    return Subject(
        type=spec.type,
        programme=spec.type.partition(".")[0],
        key=spec.key,
        name=spec.name,
        credit_code=spec.credit_code or "",
        division=grid,
        address=spec.address,
        lon=spec.lon,
        lat=spec.lat,
        owner=owner,
        organisation_id=organisation if owner is None else owner.organisation_id,
        viewers=viewers,
        contact=spec.contact.name if spec.contact else "",
        phone=spec.contact.phone if spec.contact else "",
        attributes=spec.attributes,
        source=SOURCE,
    )


def _created(demo: Demo, subject: Subject) -> dict[str, object]:
    days = 300 + int(400 * demo.chance("entered", subject.key))
    return {"kind": "subject.created", "targets": [subject], "at": demo.day_time(days, "entered", subject.key),
            "data": {"name": subject.name}, **subject.place}  # fmt: skip


def _write_devices(specs: list[DeviceSpec], made: Made) -> int:
    book = registry()
    points: list[Point] = []
    for behind in (False, True):  # a device before those that report through it
        several = [spec for spec in specs if bool(spec.parent_key) is behind]
        devices = [_device(spec, book.device_model(spec.model), made) for spec in several]
        copy_in(devices)
        made.senders |= {device.key: device for device in devices if not behind}
        for spec, device in zip(several, devices, strict=True):
            model = book.device_model(spec.model)
            points += points_for(device, model, spec.channels or fixed_channels(model))
    copy_in(points)
    return len(points)


def _device(spec: DeviceSpec, model: DeviceModel, made: Made) -> Device:
    return Device(
        protocol=model.protocol,
        key=spec.key,
        model=spec.model,
        programme=spec.model.partition(".")[0],
        subject=made.subjects[spec.subject_key],
        parent=made.senders[spec.parent_key] if spec.parent_key else None,
        name=spec.name or f"{model.name.label('zh-hans')} {spec.key.rpartition('-')[2][-4:]}",
        installed_on=spec.installed_on,
        replace_by=end_of_life(model, spec.made_on or spec.installed_on),
        attributes=spec.attributes,
    )


def count_only(demo: Demo, towns: list[Town]) -> dict[str, int]:
    """How many organisations, subjects and devices of each kind there would be, without writing any."""
    found: dict[str, int] = defaultdict(int)
    for _pack, specs in populations(demo.simulation(towns)):
        for spec in specs:
            if isinstance(spec, OrganisationSpec):
                found[spec.kind] += 1
            else:
                found[spec.type if isinstance(spec, SubjectSpec) else spec.model] += 1
    return dict(found)
