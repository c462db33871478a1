"""Import and export of subjects: one spec for each subject type that packs declare, and the base of special ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, override

from zhenan.domains.register import attributes as typed
from zhenan.domains.register import services
from zhenan.domains.register.models import Subject
from zhenan.domains.register.places import PlaceIndex
from zhenan.domains.register.services import Draft
from zhenan.kernel.imports import parse
from zhenan.kernel.imports.specs import Context, ImportColumn, ImportSpec, Message, Row, Verdict, refused
from zhenan.kernel.people.models import User
from zhenan.kernel.territory.models import Division
from zhenan.packkit.registry import Registry, registry
from zhenan.packkit.schema import SubjectField, SubjectType


@dataclass
class Wanted:
    """What a row asks for: ``fields`` and ``values`` (attributes) that it states; ``division`` if it can be told."""

    key: str
    fields: dict[str, Any]
    values: dict[str, Any]
    division: Division | None = None
    faults: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    # The division is stated by the row itself, not worked out: it also moves an existing record.
    stated: bool = False


STATUS = {
    "active": ("在营", "存续", "正常", "在业", "in operation"),
    "suspended": ("停业", "停产", "暂停", "suspended"),
    "closed": ("注销", "吊销", "关闭", "closed down"),
}
PLAIN = ("name", "credit_code", "address", "lon", "lat", "contact", "phone", "status")


def basic_columns(kind: SubjectType) -> list[ImportColumn]:
    """The columns that every subject type has."""
    statuses = {parse.folded(word).casefold(): code for code, words in STATUS.items() for word in (code, *words)}
    with override("zh-hans"):
        statuses |= {str(label).casefold(): code for code, label in Subject.Status.choices}
    columns = [
        ImportColumn(
            "name",
            gettext_lazy("name"),
            ("名称", "单位名称", "企业名称", "场所名称", "商户名称", "name"),
            required=True,
            filled=True,
            parse=parse.text(200),
        ),
        ImportColumn("key", gettext_lazy("identity"), ("编号", "标识", "key", "id"), parse=parse.text(80)),
        ImportColumn(
            "credit_code",
            gettext_lazy("unified social credit code"),
            ("统一社会信用代码", "信用代码", "uscc", "credit_code"),
            parse=lambda cell: typed.unified_code(cell) or "",
        ),
        ImportColumn(
            "division",
            gettext_lazy("division"),
            ("所属区划", "行政区划", "镇街", "所属镇街", "区划代码", "网格", "division"),
            parse=parse.text(100),
            help=gettext_lazy("code or name; without it the address must name the town"),
        ),
        ImportColumn(
            "address", gettext_lazy("address"), ("地址", "详细地址", "经营地址", "address"), parse=parse.text(300)
        ),
        ImportColumn(
            "lon", gettext_lazy("longitude (WGS-84)"), ("经度", "lon", "lng", "longitude"), parse=_degrees(180)
        ),
        ImportColumn("lat", gettext_lazy("latitude (WGS-84)"), ("纬度", "lat", "latitude"), parse=_degrees(90)),
        ImportColumn("contact", gettext_lazy("contact person"), ("联系人", "负责人", "contact"), parse=parse.text(100)),
        ImportColumn("phone", gettext_lazy("phone"), ("电话", "联系电话", "手机", "phone"), parse=typed.phone),
        ImportColumn("status", gettext_lazy("status"), ("状态", "经营状态", "status"), parse=parse.choice(statuses)),
    ]
    taken = {kind.code_field} if kind.code_field else set()
    return [c for c in columns if not (c.name == "key" and taken)]


def _degrees(limit: float) -> parse.Parser:
    return lambda cell: parse.number(cell, low=-limit, high=limit)


def attribute_column(kind: SubjectType, one: SubjectField) -> ImportColumn:
    """The column of a pack's field; its unit may stand behind the name in brackets."""
    unit = typed.unit_of(one)
    names = [one.name.zh, one.name.en, one.code]
    names += [f"{name}({unit})" for name in names if unit]
    filled = one.code == kind.code_field
    return ImportColumn(
        f"attributes.{one.code}", Label(one), tuple(names), required=filled, filled=filled, parse=typed.parser_of(one)
    )


@dataclass(frozen=True)
class Label:
    """A pack's name in the language of whoever reads it."""

    of: SubjectField | SubjectType

    def __str__(self) -> str:
        return self.of.name.label(typed.lang())


class SubjectSpec(ImportSpec):
    """Import of one subject type. An empty cell leaves what is stored as it is."""

    capability = "subject.import"
    source = "import"

    def __init__(self, kind: SubjectType) -> None:
        self.kind = kind
        self.code = kind.code
        self.label = Label(kind)
        basic = basic_columns(kind)
        # A pack's field that is named like a basic column takes its place (a credit code that identifies).
        fields = [attribute_column(kind, one) for one in kind.fields]
        names = {name for column in fields for name in column.accepted()}
        self.columns = [c for c in basic if c.required or not c.accepted() & names] + fields

    def key_of(self, values: Mapping[str, Any]) -> str:
        values_of = {c.removeprefix("attributes."): v for c, v in values.items() if c.startswith("attributes.")}
        return services.identity(
            self.kind,
            key=values.get("key") or "",
            name=values.get("name") or "",
            credit=values.get("credit_code") or "",
            attributes=values_of,
        )

    def begin(self, context: Context) -> None:
        context.memory["places"] = PlaceIndex()

    # Judging

    def wanted(self, row: Row, context: Context) -> Wanted:
        """What the row states, before it is compared with the register."""
        places: PlaceIndex = context.memory["places"]
        given = {name: value for name, value in row.values.items() if value not in (None, "")}
        values = {name.removeprefix("attributes."): v for name, v in given.items() if name.startswith("attributes.")}
        asked = Wanted(self.key_of(row.values), {name: given[name] for name in PLAIN if name in given}, values)
        stated = given.get("division", "")
        if stated:
            asked.division, asked.stated = places.named(stated), True
            if asked.division is None:
                asked.faults.append(_("no division is called “%(came)s”, or several are") % {"came": stated[:40]})
        else:
            found = places.in_address(str(given.get("address", "")))
            asked.division = found.town or found.county
        return asked

    def judge(self, rows: Sequence[Row], context: Context) -> list[Verdict]:
        asked = [self.wanted(row, context) for row in rows]
        keys = [one.key for one in asked]
        existing = {
            s.key: s for s in Subject.objects.filter(type=self.kind.code, key__in=keys).select_related("division")
        }
        editable = self._editable([s.pk for s in existing.values()], context.actor)
        return [self._verdict(one, existing.get(one.key), editable, context) for one in asked]

    def _editable(self, pks: Iterable[int], actor: User | None) -> set[int] | None:
        """Which of the records the actor may change; None for all."""
        if actor is None:
            return None
        return set(
            Subject.objects.visible_to(actor, "subject.edit").filter(pk__in=list(pks)).values_list("pk", flat=True)
        )

    def _verdict(self, one: Wanted, found: Subject | None, editable: set[int] | None, context: Context) -> Verdict:
        title = str(one.fields.get("name", one.key))
        if found is not None and editable is not None and found.pk not in editable:
            return refused(_("The record exists in an area or programme in which you may not change it."), title=title)
        if one.faults:
            return refused(*one.faults, title=title)
        draft = self._draft(one, found)
        if draft.subject.division_id is None:
            return refused(
                _("It cannot be told which division it lies in: give the division, or an address that names the town."),
                title=title,
            )
        errors = services.faults_of(draft.subject, self.kind)
        relevant = errors if draft.new else {k: v for k, v in errors.items() if k in draft.differing}
        if relevant:
            return refused(*(f"{self._column_label(name)}: {text}" for name, text in relevant.items()), title=title)
        if not services.may_place(context.actor, draft.subject):
            return refused(services.Outside(place=draft.subject.division.name), title=title)
        messages = tuple(Message("warning", text) for text in one.warnings)
        if draft.new:
            return Verdict("create", messages, title, draft)
        if not draft.differing:
            return Verdict("unchanged", messages, title)
        changed = Message("info", _("changes: %(what)s") % {"what": services.words(draft.subject, draft.differing)})
        return Verdict("update", (*messages, changed), title, draft)

    def _draft(self, one: Wanted, found: Subject | None) -> Draft:
        note = ""
        if found is None:
            subject = (
                Subject(
                    type=self.kind.code,
                    programme=self.kind.code.partition(".")[0],
                    key=one.key,
                    source=self.source,
                    division=one.division,
                    attributes=typed.laid_over({}, one.values),
                    **one.fields,
                )
                if one.division
                else Subject(type=self.kind.code, key=one.key)
            )
            return Draft(subject, note=note)
        fields = dict(one.fields)
        if one.division is not None and self._moves(one, found):
            fields["division"] = one.division
        return Draft(found, services.lay_over(found, fields, one.values), note)

    def _moves(self, one: Wanted, found: Subject) -> bool:
        """A finer place stays; a place worked out from the address moves a record only when its address changes."""
        if one.division is None or found.division.path.startswith(one.division.path):
            return False
        return one.stated or one.fields.get("address", found.address) != found.address

    def _column_label(self, name: str) -> str:
        return next((str(c.label) for c in self.columns if c.name == name), services.label_of(name))

    def apply(self, judged: Sequence[tuple[Row, Verdict]], context: Context) -> None:
        note = _("imported from %(file)s") % {"file": context.file_name}
        drafts = [Draft(v.payload.subject, v.payload.differing, note) for _row, v in judged]
        services.write_many(drafts, actor=context.actor, at=context.at)

    # Export

    def export(self, actor: User | None) -> Iterator[Mapping[str, Any]]:
        rows = Subject.objects.all() if actor is None else Subject.objects.visible_to(actor)
        rows = rows.filter(type=self.kind.code).select_related("division").order_by("pk")
        for subject in rows.iterator(chunk_size=2000):
            yield self.row_of(subject)

    def row_of(self, subject: Subject) -> dict[str, Any]:
        """A record by column name, as its import reads it back."""
        values: dict[str, Any] = {name: getattr(subject, name) for name in (*PLAIN, "key")}
        values["division"] = subject.division.code
        values["status"] = subject.get_status_display()
        for one in self.kind.fields:
            value = subject.attributes.get(one.code)
            plain = one.type not in ("choice", "bool") or value is None
            values[f"attributes.{one.code}"] = value if plain else typed.shown(one, value)
        return values


_made: tuple[Registry, list[ImportSpec]] | None = None  # the specs of one state of the packs


def specs() -> list[ImportSpec]:
    """A spec for each subject type, and the company register's; made anew when packs change."""
    global _made
    packs = registry()
    if _made is None or _made[0] is not packs:
        _made = (packs, _specs_of(packs))
    return _made[1]


def _specs_of(packs: Registry) -> list[ImportSpec]:
    from zhenan.domains.register.enterprise import TYPE, EnterpriseSpec

    kinds = packs.subject_types()
    found: list[ImportSpec] = [SubjectSpec(kind) for kind in kinds]
    return found + [EnterpriseSpec(kind) for kind in kinds if kind.code == TYPE]
