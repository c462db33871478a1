"""The lists of the register: all subjects, and one list a subject type with the columns and filters of its pack."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.db.models import Q
from django.http import Http404, HttpRequest
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from zhenan.domains.register import attributes as typed
from zhenan.domains.register import queries, services
from zhenan.domains.register.forms import MoveForm, NoteForm
from zhenan.domains.register.models import Subject
from zhenan.kernel.lists import (
    BulkAction,
    ChoiceFilter,
    Column,
    DivisionFilter,
    Filter,
    FilterError,
    ListPage,
    TextFilter,
)
from zhenan.packkit.registry import registry
from zhenan.packkit.schema import SubjectField, SubjectType

STATUS_COLOURS = {"active": "green", "suspended": "orange", "closed": "grey"}
RANGE = re.compile(r"(-?\d+(?:\.\d+)?)?\s*(?:\.\.|~|至|－|–|—)\s*(-?\d+(?:\.\d+)?)?")
BOUND = re.compile(r"(>=|≥|>|<=|≤|<|=)?\s*(-?\d+(?:\.\d+)?)")


@dataclass(frozen=True, kw_only=True)
class AttributeFilter(ChoiceFilter):
    """One value of a choice or yes-no attribute; served by the index over all attributes."""

    boolean: bool = False

    def condition(self, raw: dict[str, str], request: HttpRequest) -> Q | None:
        value: Any = raw[self.name]
        if value not in [code for code, _label in self.choices_for(request)]:
            raise FilterError(_("“%(came)s” is not one of the choices.") % {"came": value[:40]})
        return Q(attributes__contains={self.path: value == "1" if self.boolean else value})


@dataclass(frozen=True, kw_only=True)
class NumberFilter(Filter):
    """A number or a span of an attribute: 50, >=50, 10..50."""

    def condition(self, raw: dict[str, str], request: HttpRequest) -> Q | None:
        text, path = raw[self.name], f"attributes__{self.path}"
        if found := RANGE.fullmatch(text):
            low, high = found.groups()
            if low or high:
                kept = Q(**{f"{path}__gte": float(low)}) if low else Q()
                return kept & Q(**{f"{path}__lte": float(high)}) if high else kept
        if found := BOUND.fullmatch(text):
            lookup = {">=": "gte", "≥": "gte", ">": "gt", "<=": "lte", "≤": "lte", "<": "lt"}.get(found[1] or "", "")
            if lookup:
                return Q(**{f"{path}__{lookup}": float(found[2])})
            return Q(**{f"{path}__gte": float(found[2]), f"{path}__lte": float(found[2])})
        raise FilterError(_("“%(came)s” cannot be read; write 50, >=50 or 10..50.") % {"came": text[:40]})


def _types(request: HttpRequest) -> list[tuple[str, str]]:
    return [(kind.code, kind.name.label(typed.lang())) for kind in registry().subject_types()]


def _close(row: Subject, actor: Any, data: dict[str, Any]) -> str:
    services.close_subject(row.pk, actor=actor, at=timezone.now(), note=data["note"])
    return _("closed down")


def _move(row: Subject, actor: Any, data: dict[str, Any]) -> str:
    moved = services.move_subject(row.pk, data["code"], actor=actor, at=timezone.now(), note=data["note"])
    return moved.division.name


class SubjectList(ListPage):
    """Every subject that one may see."""

    model = Subject
    title = gettext_lazy("Supervised subjects")
    capability = "subject.view"
    export_capability = "subject.export"
    template_name = "register/list.html"
    search = ("name", "address", "key", "credit_code", "initials")
    search_hint = gettext_lazy("Name, first letters of its pinyin, address, credit code")
    columns = (
        Column("name", gettext_lazy("Name"), sort="name", link=True),
        Column("type", gettext_lazy("Type"), sort="type", value=lambda row: typed.type_label(row.type)),
        Column("division.name", gettext_lazy("Division"), sort="division__code"),
        Column("address", gettext_lazy("Address"), phone=False),
        Column("credit_code", gettext_lazy("Unified social credit code"), kind="code", phone=False),
        Column("status", gettext_lazy("Status"), sort="status", kind="status", colours=STATUS_COLOURS),
        Column("updated_at", gettext_lazy("Last changed"), sort="updated_at", kind="datetime", phone=False),
    )
    filters = (
        ChoiceFilter(name="type", label=gettext_lazy("Type"), choices=_types),
        DivisionFilter(name="division", label=gettext_lazy("Division"), field="division"),
        ChoiceFilter(name="status", label=gettext_lazy("Status"), choices=Subject.Status.choices),
    )
    default_sort = "name"
    select_related = ("division",)
    create_url, create_label, create_capability = "register:create", gettext_lazy("Add a subject"), "subject.edit"
    actions = (
        BulkAction(
            "move",
            gettext_lazy("Move to another division"),
            do=_move,
            capability="subject.edit",
            form=MoveForm,
            confirm=gettext_lazy("Where do these records go?"),
            icon="map-pin",
        ),
        BulkAction(
            "close",
            gettext_lazy("Mark as closed down"),
            do=_close,
            capability="subject.edit",
            form=NoteForm,
            confirm=gettext_lazy("Have these closed down? Their records stay."),
            danger=True,
            icon="lock",
        ),
    )
    empty_hint = gettext_lazy("No subject lies within your area. Import the register, or add one by hand.")
    live_topic = "subject"

    def context(self, *, partial: bool) -> dict[str, Any]:
        context = super().context(partial=partial)
        if not partial:
            context["tabs"] = self._tabs()
        return context

    def _tabs(self) -> list[dict[str, Any]]:
        """A tab for every type, with how many of it are open to this user."""
        counts = queries.counts_by_type(self.request.user)  # type: ignore[arg-type]
        kinds = [kind for kind in registry().subject_types() if kind.code in counts or kind.code == self.kind_code]
        tabs = [{"code": "", "label": _("All"), "icon": "list", "count": sum(counts.values())}]
        tabs += [
            {"code": k.code, "label": k.name.label(typed.lang()), "icon": k.icon, "count": counts.get(k.code, 0)}
            for k in kinds
        ]
        return [{**tab, "active": tab["code"] == self.kind_code} for tab in tabs]

    kind_code = ""


class TypeList(SubjectList):
    """The subjects of one type, with its pack's columns and filters."""

    @cached_property
    def kind(self) -> SubjectType:
        kind = typed.kind_of(self.kwargs["type"])
        if kind is None:
            raise Http404
        return kind

    @property
    def kind_code(self) -> str:  # type: ignore[override]
        return self.kind.code

    @property
    def title(self) -> str:  # type: ignore[override]
        return self.kind.name.label(typed.lang())

    @cached_property
    def columns(self) -> tuple[Column, ...]:  # type: ignore[override]
        name, _type, division, *rest = SubjectList.columns
        own = tuple(column_of(one) for one in self.kind.fields if one.in_list)
        left_out = ("credit_code", "address") if own else ()
        return (name, division, *own, *(c for c in rest if c.key not in left_out))

    @cached_property
    def filters(self) -> tuple[Filter, ...]:  # type: ignore[override]
        own = [filter_of(one) for one in self.kind.fields if one.filter]
        return (*SubjectList.filters[1:], *own)

    def get_queryset(self) -> Any:
        return super().get_queryset().filter(type=self.kind.code)

    @property
    def create_link(self) -> str:
        link = super().create_link
        return f"{link}?type={self.kind.code}" if link else ""


def _shown(one: SubjectField, row: Subject) -> str:
    return typed.shown(one, row.attributes.get(one.code))


def _exported(one: SubjectField, row: Subject) -> Any:
    value = row.attributes.get(one.code)
    return value if one.type in ("int", "number") else typed.shown(one, value)


def column_of(one: SubjectField) -> Column:
    """The list's column for a pack's field."""
    return Column(
        f"attributes.{one.code}",
        one.name.label(typed.lang()),
        value=partial(_shown, one),
        export=partial(_exported, one),
        phone=one.type != "credit_code",
    )


def filter_of(one: SubjectField) -> Filter:
    """The list's filter for a pack's field. ``f_`` keeps its name apart from the list's own."""
    name, label = f"f_{one.code}", one.name.label(typed.lang())
    if one.type == "choice":
        choices = [(c.code, c.name.label(typed.lang())) for c in one.choices]
        return AttributeFilter(name=name, label=label, field=one.code, choices=choices)
    if one.type == "bool":
        return AttributeFilter(
            name=name, label=label, field=one.code, boolean=True, choices=[("1", _("yes")), ("0", _("no"))]
        )
    if one.type in ("int", "number"):
        unit = typed.unit_of(one)
        return NumberFilter(name=name, label=f"{label} ({unit})" if unit else label, field=one.code)
    return TextFilter(name=name, label=label, field=f"attributes__{one.code}", lookup="icontains")
