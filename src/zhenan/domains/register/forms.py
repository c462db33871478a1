"""Forms made from a subject type's fields, and those of the bulk actions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import forms
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from zhenan.domains.register import attributes as typed
from zhenan.domains.register.models import Subject
from zhenan.kernel.access import scope_of
from zhenan.kernel.imports.parse import CellFault
from zhenan.kernel.people.models import User
from zhenan.kernel.territory.models import Division
from zhenan.packkit.schema import SubjectField, SubjectType

PREFIX = "a_"  # before the names of attribute fields
BASIC = ("name", "credit_code", "address", "lon", "lat", "contact", "phone")


def placeable(user: User, capability: str = "subject.edit") -> list[tuple[str, str]]:
    """(code, indented name) of the divisions in which the user may place a record, from the county down."""
    scope = scope_of(user, capability)
    depth = {"city": 0, "county": 1, "town": 2, "grid": 3}
    rows = (
        Division.objects.filter(active=True, level__in=depth)
        .order_by("path")
        .values_list("code", "name", "level", "path")
    )
    if not scope.everything:
        rows = rows.filter(path__regex="^(" + "|".join({r.path for r in scope.reaches if r.path} or {"-"}) + ")")
    return [(code, "　" * depth[level] + name) for code, name, level, _path in rows]


class DivisionChoice(forms.TypedChoiceField):
    """A division chosen from those within the user's reach."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(coerce=lambda code: Division.objects.get(code=code), empty_value=None, **kwargs)


class SubjectForm(forms.Form):
    """Add or change a subject of one type. The service judges; its errors are put beside the fields."""

    name = forms.CharField(label=gettext_lazy("Name"), max_length=200)
    key = forms.CharField(
        label=gettext_lazy("Identity"), max_length=80, required=False,
        help_text=gettext_lazy("Its number in the system it comes from; without one, the credit code or the name."),
    )  # fmt: skip
    division = DivisionChoice(label=gettext_lazy("Division"))
    address = forms.CharField(label=gettext_lazy("Address"), max_length=300, required=False)
    lon = forms.FloatField(label=gettext_lazy("Longitude (WGS-84)"), required=False)
    lat = forms.FloatField(label=gettext_lazy("Latitude (WGS-84)"), required=False)
    credit_code = forms.CharField(label=gettext_lazy("Unified social credit code"), max_length=40, required=False)
    contact = forms.CharField(label=gettext_lazy("Contact person"), max_length=100, required=False)
    phone = forms.CharField(label=gettext_lazy("Phone"), max_length=40, required=False)
    owner = forms.CharField(
        label=gettext_lazy("Belongs to"), required=False, max_length=100,
        help_text=gettext_lazy("Credit code, identity or exact name of the enterprise that it belongs to."),
    )  # fmt: skip
    seen = forms.CharField(required=False, widget=forms.HiddenInput)

    def __init__(
        self, *args: Any, kind: SubjectType, user: User, subject: Subject | None = None, **kwargs: Any
    ) -> None:
        self.kind, self.user, self.subject = kind, user, subject
        if subject is not None:
            kwargs["initial"] = initial_of(subject)
        super().__init__(*args, **kwargs)
        choices = [("", "–"), *placeable(user)]
        self.fields["division"].choices = choices  # type: ignore[attr-defined]
        if subject is not None:
            del self.fields["key"]
        if kind.code_field:
            self.fields.pop("key", None)
            if (field := kind.field(kind.code_field)) is not None and field.type == "credit_code":
                del self.fields["credit_code"]
        for one in kind.fields:
            self.fields[PREFIX + one.code] = field_of(one)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        for one in self.kind.fields:
            name = PREFIX + one.code
            if name in cleaned:
                try:
                    cleaned[name] = typed.checked(one, cleaned[name])
                except CellFault as err:
                    self.add_error(name, str(err))
        for name, parse in (("credit_code", typed.unified_code), ("phone", typed.phone)):
            if cleaned.get(name):
                try:
                    cleaned[name] = parse(cleaned[name]) or ""
                except CellFault as err:
                    self.add_error(name, str(err))
        if cleaned.get("owner"):
            cleaned["owner"] = self._owner(cleaned["owner"])
        return cleaned

    def _owner(self, text: str) -> Subject | None:
        rows = Subject.objects.visible_to(self.user)
        if self.subject is not None:
            rows = rows.exclude(pk=self.subject.pk)
        for lookup in ("credit_code", "key", "name"):
            found = list(rows.filter(**{lookup: text.strip()}).order_by("pk")[:2])
            if len(found) == 1:
                return found[0]
            if found:
                self.add_error(
                    "owner", _("Several records are called “%(came)s”; give the credit code.") % {"came": text}
                )
                return None
        self.add_error("owner", _("No record that you may see is called “%(came)s”.") % {"came": text})
        return None

    def attributes(self) -> dict[str, Any]:
        """Checked values by code; None where the field was left empty."""
        return {one.code: self.cleaned_data.get(PREFIX + one.code) for one in self.kind.fields}

    def basics(self) -> dict[str, Any]:
        """Checked basic fields, those that the form has."""
        found = {name: self.cleaned_data[name] for name in (*BASIC, "division") if name in self.fields}
        found["owner"] = self.cleaned_data.get("owner") or None
        code_field = self.kind.field(self.kind.code_field) if self.kind.code_field else None
        if code_field is not None and code_field.type == "credit_code":
            found["credit_code"] = self.cleaned_data.get(PREFIX + code_field.code) or ""
        return found

    def take_errors(self, errors: Mapping[str, str]) -> None:
        """Put a service's errors beside the fields they are about."""
        for name, text in errors.items():
            field = PREFIX + name.removeprefix("attributes.") if name.startswith("attributes.") else name
            self.add_error(field if field in self.fields else None, text)

    @property
    def groups(self) -> list[tuple[Any, list[forms.BoundField]]]:
        """The fields under headings, for the page."""
        basic = [self[name] for name in self.fields if not name.startswith(PREFIX) and name != "seen"]
        special = [self[name] for name in self.fields if name.startswith(PREFIX)]
        groups = [(_("Basic facts"), basic), (_("Particulars"), special)]
        return [(label, fields) for label, fields in groups if fields]


def initial_of(subject: Subject) -> dict[str, Any]:
    """What the form shows of a record."""
    found = {name: getattr(subject, name) for name in BASIC}
    found["division"] = subject.division.code
    found["owner"] = (subject.owner.credit_code or subject.owner.key) if subject.owner else ""
    found["seen"] = subject.updated_at.isoformat()
    for code, value in subject.attributes.items():
        found[PREFIX + code] = {True: "1", False: "0"}[value] if isinstance(value, bool) else value
    return found


def field_of(one: SubjectField) -> forms.Field:
    """A form field for a pack's field: its name with the unit, its limits in the help."""
    label = one.name.label(typed.lang())
    unit = typed.unit_of(one)
    label = capfirst(label) + (f" ({unit})" if unit else "")
    common: dict[str, Any] = {"label": label, "required": one.required, "help_text": _help(one)}
    if one.type == "choice":
        choices = [("", "–"), *((c.code, c.name.label(typed.lang())) for c in one.choices)]
        return forms.ChoiceField(choices=choices, **common)
    if one.type == "bool":
        return forms.ChoiceField(choices=[("", "–"), ("1", _("yes")), ("0", _("no"))], **common)
    if one.type == "date":
        return forms.DateField(widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"), **common)
    if one.type == "int":
        return forms.IntegerField(min_value=_whole(one.min), max_value=_whole(one.max), **common)
    if one.type == "number":
        return forms.FloatField(min_value=one.min, max_value=one.max, **common)
    limit = {"phone": 40, "credit_code": 40}.get(one.type, typed.TEXT_LIMIT)
    return forms.CharField(max_length=limit, **common)


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


def _help(one: SubjectField) -> str:
    if one.help:
        return one.help.label(typed.lang())
    if one.min is not None and one.max is not None:
        return _("%(low)s to %(high)s") % {"low": f"{one.min:g}", "high": f"{one.max:g}"}
    return ""


class NoteForm(forms.Form):
    """Why something is done."""

    note = forms.CharField(label=gettext_lazy("Reason"), max_length=500, widget=forms.Textarea(attrs={"rows": 2}))


class MoveForm(forms.Form):
    """The grid, town or county to which the chosen records go."""

    code = forms.CharField(
        label=gettext_lazy("Division"), max_length=60,
        help_text=gettext_lazy("Its code, or its name if only one has it: 321181100001, 司徒镇, 丹阳市司徒镇"),
    )  # fmt: skip
    note = forms.CharField(label=gettext_lazy("Reason"), max_length=500, required=False)

    def clean_code(self) -> Division:
        from zhenan.domains.register.places import PlaceIndex

        found = PlaceIndex().named(self.cleaned_data["code"])
        if found is None:
            raise forms.ValidationError(_("No division is called so, or several are."))
        return found
