"""Adopting unknown devices from a file: identity, where it stands, what it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from zhenan.domains.monitoring import adoption
from zhenan.domains.monitoring.models import Device, UnknownDevice
from zhenan.domains.register.models import Subject
from zhenan.kernel.errors import DomainError
from zhenan.kernel.imports import parse
from zhenan.kernel.imports.specs import Context, ImportColumn, ImportSpec, Row, Verdict, refused
from zhenan.kernel.people.models import User
from zhenan.packkit.registry import registry

State = UnknownDevice.State


class AdoptionSpec(ImportSpec):
    """A row adopts one device that has reported. One that stands where the row says changes nothing."""

    code = "adoption"
    label = gettext_lazy("Adoption of unknown devices")
    help = gettext_lazy("Devices that reported are registered at their sites; what they have said so far is taken.")
    capability = "device.edit"

    def __init__(self) -> None:
        models = {m.code: m.code for m in registry().device_models()}
        names = {parse.folded(name).casefold(): m.code for m in registry().device_models()
                 for name in (m.code, m.name.zh, m.name.en)}  # fmt: skip
        self.columns = [
            ImportColumn(
                "key", gettext_lazy("Device identity"), ("设备标识", "设备编号"), required=True, filled=True,
                parse=parse.text(64),
            ),
            ImportColumn(
                "subject", gettext_lazy("Site identity"), ("对象编号", "场所编号"), required=True,
                filled=True, parse=parse.text(80),
            ),
            ImportColumn(
                "model", gettext_lazy("Model"), ("型号", "设备型号"), parse=parse.choice(names | models),
                help=gettext_lazy("empty: the suggested one"),
            ),
            ImportColumn("name", gettext_lazy("Name"), ("名称", "设备名称"), parse=parse.text(200)),
        ]  # fmt: skip

    def key_of(self, values: Mapping[str, Any]) -> str:
        return str(values.get("key") or "")

    def judge(self, rows: Sequence[Row], context: Context) -> list[Verdict]:
        keys = {str(row.values["key"]) for row in rows}
        unknown: dict[str, list[UnknownDevice]] = {}
        for one in UnknownDevice.objects.filter(key__in=keys).select_related("device__subject"):
            unknown.setdefault(one.key, []).append(one)
        named = {str(row.values["subject"]) for row in rows}
        actor = context.actor
        reach = Subject.objects.all() if actor is None else Subject.objects.visible_to(actor, self.capability)
        subjects = {subject.key: subject for subject in reach.filter(key__in=named).select_related("division")}
        return [self._verdict(row, unknown, subjects) for row in rows]

    def _verdict(
        self, row: Row, unknown: Mapping[str, list[UnknownDevice]], subjects: Mapping[str, Subject]
    ) -> Verdict:
        key, site = str(row.values["key"]), str(row.values["subject"])
        model = row.values.get("model") or ""
        protocol = registry().device_model(model).protocol if model else ""
        found = [one for one in unknown.get(key, []) if protocol in ("", one.protocol)]
        if len(found) != 1:
            text = (
                _("no unknown device has reported as “%(came)s”")
                if not found
                else _("devices of several protocols report as “%(came)s”; give the model")
            )
            return refused(text % {"came": key}, title=key)
        one, subject = found[0], subjects.get(site)
        if subject is None:
            return refused(
                _("no site that you may change has the identity “%(came)s”") % {"came": site[:60]}, title=key
            )
        if one.state == State.ADOPTED:
            if one.device is not None and one.device.subject_id == subject.pk:
                return Verdict("unchanged", (), key)
            return refused(_("it is adopted already, at another site"), title=key)
        if not model:
            suggested = adoption.suggested(one)
            if suggested is None:
                return refused(_("no model knows what it reports; give the model"), title=key)
            model = suggested.code
        return Verdict("create", (), f"{key} → {subject}", (one.pk, model, subject, row.values.get("name") or ""))

    def apply(self, judged: Sequence[tuple[Row, Verdict]], context: Context) -> None:
        for row, verdict in judged:
            pk, model, subject, name = verdict.payload
            try:
                adoption.adopt(pk, model=model, subject=subject, by=context.actor, at=context.at, name=name)
            except DomainError as err:
                raise AdoptionRefused(line=row.line, why=str(err)) from err

    def export(self, actor: User | None) -> Iterator[Mapping[str, Any]]:
        rows = UnknownDevice.objects.filter(state=State.ADOPTED).exclude(device=None)
        if actor is not None:
            rows = rows.filter(device__in=Device.objects.visible_to(actor))
        for one in rows.select_related("device__subject").order_by("pk").iterator(chunk_size=2000):
            if one.device is not None:
                yield {
                    "key": one.key,
                    "subject": one.device.subject.key,
                    "model": one.device.model,
                    "name": one.device.name,
                }


class AdoptionRefused(DomainError):
    code = "device.adoption_refused"
    message = gettext_lazy("Row {line}: {why}")


def specs() -> list[ImportSpec]:
    return [AdoptionSpec()]
