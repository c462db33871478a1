"""One of everything, three times: here, elsewhere, and of another programme; each with a name of its own.

``build(personas)`` makes it through the services. Every text that a place's objects carry holds the place's mark
(``alpha-mark`` …), so that a page that shows something of a place can be known by its body.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.core.files.base import ContentFile
from django.db import models
from django.utils import timezone
from PIL import Image
from tests.support.personas import Personas

from zhenan.domains.backtest.models import Trial
from zhenan.domains.checks.models import Inspection
from zhenan.domains.checks.services import start
from zhenan.domains.duty.models import Contract
from zhenan.domains.duty.services import sign_contract
from zhenan.domains.hazards.models import Hazard
from zhenan.domains.hazards.services import report_hazard
from zhenan.domains.monitoring.devices import register_device
from zhenan.domains.monitoring.keys import make_key
from zhenan.domains.monitoring.models import (
    Alarm,
    ApiKey,
    Device,
    DeviceCommand,
    Maintenance,
    Point,
    QuarantinedFrame,
    UnknownDevice,
)  # fmt: skip
from zhenan.domains.monitoring.recording import record_transitions
from zhenan.domains.monitoring.sightings import store_quarantined
from zhenan.domains.register.models import Subject
from zhenan.domains.transport.models import Fence
from zhenan.domains.transport.services import make_fence
from zhenan.kernel.evidence.models import Evidence
from zhenan.kernel.evidence.services import store
from zhenan.kernel.imports.models import ImportRun
from zhenan.kernel.imports.services import begin, receive
from zhenan.kernel.imports.specs import all_specs
from zhenan.kernel.notices.models import Notice
from zhenan.kernel.notices.services import tell
from zhenan.kernel.people.models import Organisation, User
from zhenan.packkit.registry import registry
from zhenan.packkit.sync import sync_packs
from zhenan.telemetry.judge.results import Transition

MARKS = {"here": "alpha-mark", "elsewhere": "beta-mark", "fire": "gamma-mark"}  # none is part of another


@dataclass
class Place:
    """The objects of one place by kind, and the mark that their texts hold."""

    mark: str
    objects: dict[str, models.Model] = field(default_factory=dict)

    def __getitem__(self, kind: str) -> Any:
        return self.objects[kind]


@dataclass
class World:
    personas: Personas
    places: dict[str, Place]

    @property
    def here(self) -> Place:
        return self.places["here"]

    @property
    def elsewhere(self) -> Place:
        return self.places["elsewhere"]


def build(personas: Personas) -> World:
    """Everything, made as the platform makes it. Needs the database; takes about a second."""
    sync_packs()
    p, at = personas, timezone.now() - timedelta(hours=2)
    fire = p.organisation("fire-enterprise-elsewhere", "enterprise", p.elsewhere)
    plans = {
        "here": ("catering_gas.caterer", p.grid, p.organisations["enterprise-here"], p["grid_worker"]),
        "elsewhere": ("catering_gas.caterer", p.elsewhere, p.organisations["enterprise-elsewhere"],
                      p["town_officer_elsewhere"]),
        "fire": ("smart_fire.site", p.elsewhere, fire, p["district_officer_elsewhere"]),
    }  # fmt: skip
    world = World(p, {})
    for number, (name, (kind, division, organisation, person)) in enumerate(plans.items()):
        place = world.places[name] = Place(MARKS[name])
        _subject(place, number, kind, division, organisation)
        _monitoring(place, number, at)
        _vehicle(place, number, at)
        _work(place, person, at)
        _told(place, person, at)
    # The insurer and the service centre see one subject each, because it names them.
    subject = world.here["subject"]
    subject.viewers = [p.organisations["insurer"].pk, p.organisations["fire-centre"].pk]
    subject.save(update_fields=["viewers"])
    return world


def grow(world: World, count: int) -> None:
    """``count`` more of everything beside what is here, and as many more records about the subject that is here."""
    p, at = world.personas, timezone.now() - timedelta(hours=1)
    first, subject = Subject.objects.count(), world.here["subject"]
    checklist = registry().checklists(subject.programme, subject_type=subject.type)[0]
    for number in range(first, first + count):
        place = Place(f"more{number}-mark")
        organisation = p.organisation(f"more-{number}", "enterprise", p.here)
        person = p.add(f"more_{number}", "grid_worker", organisation, p.grid)
        _subject(place, number, "catering_gas.caterer", p.grid, organisation)
        _monitoring(place, number, at)
        _vehicle(place, number, at)
        _work(place, person, at)
        _told(place, person, at)
        again = Place(f"again{number}-mark", {"subject": subject})
        _monitoring(again, 5000 + number, at)
        report_hazard(subject=subject, source="inspection", title=f"{again.mark} hazard", by=None, at=at)
        start(subject=subject, checklist=checklist.code, by=p["grid_worker"], at=at)
        tell([p["city_officer"]], key=again.mark, kind="test", title=again.mark, at=at)


def _subject(place: Place, number: int, kind: str, division: Any, organisation: Organisation) -> None:
    attributes = {"gas_kind": "natural"} if kind == "catering_gas.caterer" else {"place_kind": "small_shop"}
    place.objects["subject"] = Subject.objects.create(
        type=kind, programme=kind.partition(".")[0], key=f"{place.mark}-key", name=f"{place.mark} subject",
        division=division, organisation=organisation, address=f"{place.mark} street 1", attributes=attributes,
        lon=119.4 + number / 20, lat=32.0,
    )  # fmt: skip
    place.objects["organisation"] = organisation


MODELS = {"catering_gas": "catering_gas.gas_detector", "smart_fire": "smart_fire.transmission_device"}


def _monitoring(place: Place, number: int, at: datetime) -> None:
    """A device with its points, an alarm raised by the judge's word, and a frame of an unknown device kept aside."""
    subject = place["subject"]
    device = register_device(
        subject=subject, model=MODELS[subject.programme], key=f"{900100 + number}", name=f"{place.mark} device",
        by=None, at=at,
    )  # fmt: skip
    rules = {point: registry().rules_for(device.model, point.measure) for point in device.points.order_by("pk")}
    point, rule = next((point, found[0]) for point, found in rules.items() if found)
    onset = int(at.timestamp() * 1000)
    record_transitions([Transition(str(point.pk), rule.code, "raise", onset, onset, 30.0, rule.level)], at=at)
    window = Maintenance.objects.create(
        device=device, programme=subject.programme, reason=f"{place.mark} maintenance",
        starts_at=at - timedelta(days=2), ends_at=at - timedelta(days=1), made_by=User.objects.order_by("pk")[0],
        made_at=at, path=subject.place["path"], organisations=subject.place["organisations"],
    )  # fmt: skip
    place.objects |= {
        "device": device, "point": point, "alarm": Alarm.objects.get(point=point), "maintenance": window,
    }  # fmt: skip
    place.objects["key"] = make_key(
        name=f"{place.mark} key", division=subject.division, organisation=subject.organisation, readings_per_s=10,
        burst=100, by=None, at=at,
    )[0]  # fmt: skip
    store_quarantined([
        QuarantinedFrame(
            sequence=number + 1, reason="unknown_device", protocol="mqtt_json", device_key=f"{place.mark}-unknown",
            received_at=at, raw=b"\x00raw", detail=f"{place.mark} frame",
        )
    ])  # fmt: skip
    place.objects |= {
        "frame": QuarantinedFrame.objects.get(sequence=number + 1),
        "stranger": UnknownDevice.objects.get(key=f"{place.mark}-unknown"),
        "command": DeviceCommand.objects.create(
            device=device, command="sync_clock", payload={"note": f"{place.mark} command"}, asked_at=at
        ),
    }


def _vehicle(place: Place, number: int, at: datetime) -> None:
    """A vehicle's terminal and a fence of the place."""
    subject = place["subject"]
    place.objects["vehicle"] = Device.objects.create(
        protocol="jt808", key=f"1390000{number:04}", model="transport.terminal", programme=subject.programme,
        subject=subject, name=f"{place.mark} vehicle",
    )  # fmt: skip
    points = [[32.0, 119.4], [32.0, 119.5], [32.1, 119.5]]
    place.objects["fence"] = make_fence(
        name=f"{place.mark} fence", division=subject.division, terms={"shape": "polygon", "points": points},
        valid_from=at, by=None, at=at,
    )  # fmt: skip


def _work(place: Place, person: User, at: datetime) -> None:
    """A contract, an inspection under way, a hazard with a photo."""
    subject = place["subject"]
    place.objects["contract"] = sign_contract(
        subject=subject, level="grid", person=person, begins_on=at.date(), by=None, at=at, visit_every_days=30,
        source=f"{place.mark} contract",
    )  # fmt: skip
    checklist = registry().checklists(subject.programme, subject_type=subject.type)[0]
    inspection = start(subject=subject, checklist=checklist.code, by=person, at=at)
    Inspection.objects.filter(pk=inspection.pk).update(note=f"{place.mark} inspection")
    hazard = report_hazard(
        subject=subject, source="inspection", title=f"{place.mark} hazard", by=None, at=at, photos=[photo(place.mark)]
    )
    place.objects |= {"inspection": inspection, "hazard": hazard}
    place.objects["evidence"] = Evidence.objects.get(target=f"hazards.hazard:{hazard.pk}")
    store(photo(f"{place.mark} arrival"), target=place["alarm"], purpose="arrival", actor=None, at=at)


def _told(place: Place, person: User, at: datetime) -> None:
    """A notice to one person, and an import that this person made."""
    title = f"{place.mark} notice"
    tell([person], key=title, kind="test", title=title, url=place["subject"].get_absolute_url(), at=at)
    place.objects |= {"notice": Notice.objects.get(recipient=person, key=title), "person": person}
    place.objects["post"] = person.posts.get()
    spec = all_specs()[place["subject"].type]
    upload = ContentFile(f"名称,{place.mark}\n{place.mark} row,1\n".encode(), name=f"{place.mark}.csv")
    run = receive(upload, f"{place.mark}.csv", spec, actor=None, at=at)
    ImportRun.objects.filter(pk=run.pk).update(actor=person)
    begin(run.pk, actor=None, at=at, write=False)
    place.objects["run"] = ImportRun.objects.get(pk=run.pk)
    place.objects["trial"] = Trial.objects.create(
        rule=place["alarm"].rule, standing={"kind": "threshold", "above": 20}, actor=person, at=at, since=at,
        until=at + timedelta(hours=1),
        state="failed", error=f"{place.mark} trial", finished_at=at,
    )  # fmt: skip


def photo(text: str) -> ContentFile:
    """A JPEG whose pixels differ by the text, so that each is a file of its own."""
    shade = sum(text.encode()) % 256
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48), (shade, 90, 255 - shade)).save(buffer, "JPEG")
    return ContentFile(buffer.getvalue(), name=f"{text}.jpg")


KINDS: dict[str, type[models.Model]] = {
    "subject": Subject, "device": Device, "point": Point, "alarm": Alarm, "hazard": Hazard, "inspection": Inspection,
    "contract": Contract, "evidence": Evidence, "notice": Notice, "run": ImportRun, "trial": Trial,
    "frame": QuarantinedFrame,
    "maintenance": Maintenance, "key": ApiKey, "command": DeviceCommand,
    "organisation": Organisation, "person": User, "vehicle": Device, "fence": Fence,
}  # fmt: skip
