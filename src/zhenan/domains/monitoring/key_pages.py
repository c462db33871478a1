"""Pages of API keys: the list with revoking, and making one."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import Any

from django import forms
from django.db.models import Q
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from zhenan.domains.monitoring import keys
from zhenan.domains.monitoring.models import ApiKey
from zhenan.kernel.access import AuthedRequest, needs, scope_of
from zhenan.kernel.errors import DomainError
from zhenan.kernel.lists import BooleanFilter, BulkAction, Column, DivisionFilter, ListPage
from zhenan.kernel.people.models import Organisation, User
from zhenan.kernel.territory.models import Division


def state_of(key: ApiKey) -> str:
    """good, revoked or run out."""
    if key.revoked_at is not None:
        return "revoked"
    return "run_out" if key.expires_at is not None and key.expires_at <= timezone.now() else "good"


STATES = {"good": _("good"), "revoked": _("revoked"), "run_out": _("run out")}


def revoke_row(row: Any, actor: User, data: Any) -> None:
    keys.revoke_key(row.pk, by=actor, at=timezone.now())


class KeyList(ListPage):
    model = ApiKey
    title = _("API keys")
    lead = _("Programs that send readings over HTTP show a key. Its text is shown once, when it is made.")
    capability = "key.edit"
    search = ("name", "prefix")
    columns = (
        Column("name", _("Name"), sort="name"),
        Column("prefix", _("Begins with"), kind="code"),
        Column("state", _("State"), value=lambda k: STATES[state_of(k)]),
        Column("division.name", _("Division")),
        Column("organisation", _("Organisation"), phone=False),
        Column("readings_per_s", _("Readings a second"), kind="number", phone=False),
        Column("burst", _("At once"), kind="number", phone=False),
        Column("last_used_at", _("Last used"), kind="datetime"),
        Column("made_by", _("Made by"), phone=False),
        Column("made_at", _("Made"), sort="made_at", kind="datetime", phone=False),
        Column("expires_at", _("Good until"), kind="datetime", phone=False),
    )
    filters = (
        BooleanFilter(name="revoked", label=_("Revoked"), when=lambda: Q(revoked_at__isnull=False)),
        DivisionFilter(name="division", label=_("Division"), field="division"),
    )
    default_sort = "-made_at"
    select_related = ("division", "organisation", "made_by")
    actions = (BulkAction("revoke", _("Revoke"), do=revoke_row, capability="key.edit", danger=True),)
    create_url, create_label, create_capability = "monitoring:new_key", _("Make a key"), "key.edit"
    empty_hint = _("No program sends readings over HTTP yet.")


class DivisionChoice(forms.ModelChoiceField):
    """A division down to the town, within the person's reach, indented by its depth."""

    def label_from_instance(self, obj: Any) -> str:
        return f"{'　' * max(0, ('city', 'county', 'town').index(obj.level))}{obj.name}"


class KeyForm(forms.Form):
    name = forms.CharField(label=_("Name"), max_length=120, help_text=_("Who sends with it, such as the maker's cloud"))
    division = DivisionChoice(Division.objects.none(), label=_("Division"), help_text=_("Devices there and below"))
    organisation = forms.CharField(
        label=_("Only this organisation's devices"), required=False, max_length=200,
        help_text=_("Its code or exact name; empty: all in the division"),
    )  # fmt: skip
    readings_per_s = forms.IntegerField(label=_("Readings a second"), min_value=1, max_value=keys.MOST, initial=1000)
    burst = forms.IntegerField(
        label=_("Readings at once"), min_value=1, max_value=keys.MOST, initial=100_000,
        help_text=_("What may come after a pause, such as what a device had gathered"),
    )  # fmt: skip
    expires_on = forms.DateField(
        label=_("Good until the end of"), required=False, widget=forms.DateInput(attrs={"type": "date"}),
        help_text=_("Empty: until it is revoked"),
    )  # fmt: skip

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field: Any = self.fields["division"]
        field.queryset = divisions_of(user)

    def clean_organisation(self) -> Organisation | None:
        text = self.cleaned_data["organisation"].strip()
        if not text:
            return None
        found = list(Organisation.objects.filter(code=text)[:2]) or list(Organisation.objects.filter(name=text)[:2])
        if len(found) != 1:
            words = _("no organisation has it") if not found else _("several have it; give the code")
            raise forms.ValidationError(f"{text}: {words}")
        return found[0]

    def clean_expires_on(self) -> datetime | None:
        day = self.cleaned_data["expires_on"]
        return timezone.make_aware(datetime.combine(day + timedelta(days=1), time())) if day else None


def divisions_of(user: User) -> Any:
    """Divisions down to the town for which the person may make keys."""
    scope, rows = scope_of(user, "key.edit"), Division.objects.filter(level__in=["city", "county", "town"], active=True)
    if not scope.everything:
        wanted = Q(pk__in=[])
        for reach in scope.reaches:
            if reach.path:
                wanted |= Q(path__startswith=reach.path)
        rows = rows.filter(wanted)
    return rows.order_by("path")


@needs("key.edit")
def new_key(request: AuthedRequest) -> HttpResponse:
    """Make a key; its text is on this page once and nowhere else."""
    form = KeyForm(request.POST or None, user=request.user)
    made, token = None, ""
    if request.method == "POST" and form.is_valid():
        data = form.cleaned_data
        try:
            made, token = keys.make_key(
                name=data["name"], division=data["division"], organisation=data["organisation"],
                readings_per_s=data["readings_per_s"], burst=data["burst"], expires_at=data["expires_on"],
                by=request.user, at=timezone.now(),
            )  # fmt: skip
        except DomainError as err:
            form.add_error(None, str(err))
    context = {"form": form, "made": made, "token": token, "title": _("Make a key"), "back": reverse("monitoring:keys")}
    answer = render(request, "monitoring/new_key.html", context, status=422 if form.errors else 200)
    if token:
        answer["Cache-Control"] = "no-store"
    return answer
