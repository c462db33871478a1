"""Lists: contracts, and subjects for which nobody answers."""

from __future__ import annotations

from typing import Any

from django.db.models import F, Q
from django.http import Http404, HttpRequest, HttpResponseBase
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from zhenan.domains.duty import queries, services
from zhenan.domains.duty.forms import HandOverForm, ManyForm
from zhenan.domains.duty.models import Contract, level_choices, level_label
from zhenan.domains.register.models import Subject
from zhenan.kernel.lists import BooleanFilter, BulkAction, ChoiceFilter, Column, DivisionFilter, ListPage
from zhenan.kernel.workflow.models import Deadline
from zhenan.packkit.registry import registry


def in_force() -> Q:
    return Q(period__contains=timezone.localdate())


def programmes(request: HttpRequest) -> list[tuple[str, Any]]:
    known = registry()
    return [(code, known.label(code, kind="pack")) for code in sorted(known.packs)]


def levels(request: HttpRequest) -> list[tuple[str, Any]]:
    return level_choices()


def visit_overdue() -> Q:
    """Contracts whose visit is overdue, by their running clocks."""
    late = Deadline.objects.overdue(timezone.now()).filter(kind=services.VISIT).values_list("target", flat=True)
    return Q(pk__in=[int(target.partition(":")[2]) for target in late])


def hand_over(contract: Contract, actor: Any, data: dict[str, Any]) -> Any:
    done = services.hand_over(
        contract.pk, to=data["to"], on=data["on"], reason=data["reason"], by=actor, at=timezone.now()
    )
    return done.person


class ContractList(ListPage):
    model = Contract
    title = _("Contracts of responsibility")
    capability = "contract.view"
    search = ("subject__name", "person__name")
    search_hint = _("Subject or person")
    columns = (
        Column("subject.name", _("Subject"), sort="subject__name", link=True),
        Column("level_label", _("Level"), sort="level"),
        Column("person", _("Person"), sort="person__name"),
        Column("begins_on", _("From"), sort="begins", kind="date"),
        Column("ends_on", _("Until"), sort="ends", kind="date"),
        Column("visit_every_days", _("Visit every (days)"), kind="number", phone=False),
        Column("last_visit_at", _("Last visit"), sort="last_visit_at", kind="datetime"),
        Column("subject.division.name", _("Division"), sort="subject__division__code", phone=False),
        Column("signed_at", _("Signed"), sort="signed_at", kind="datetime", phone=False),
    )
    filters = (
        ChoiceFilter(name="level", label=_("Level"), choices=levels),
        BooleanFilter(name="in_force", label=_("In force today"), when=in_force),
        BooleanFilter(name="visit_overdue", label=_("Visit overdue"), when=visit_overdue),
        DivisionFilter(name="division", label=_("Division"), field="subject__division"),
        ChoiceFilter(name="programme", label=_("Programme"), field="subject__programme", choices=programmes),
    )
    default_sort = "-signed_at"
    select_related = ("subject__division", "person")
    actions = (
        BulkAction(
            "hand_over", _("Hand over"), do=hand_over, capability="contract.edit", form=HandOverForm, icon="users"
        ),
    )
    create_url, create_label, create_capability = "duty:sign", _("Sign a contract"), "contract.edit"
    empty_hint = _("Nobody answers for anything here yet. Sign a contract, or widen the filters.")
    live_topic = "duty"

    def get_queryset(self) -> Any:
        return super().get_queryset().annotate(begins=F("period__startswith"), ends=F("period__endswith"))


class GapList(ListPage):
    """Subjects for which nobody answers at a level that a programme requires. It can become empty, and stay so."""

    model = Subject
    capability = "contract.view"
    search = ("name", "address")
    columns = (
        Column("name", _("Subject"), sort="name", link=True),
        Column("type", _("Type"), value=lambda s: registry().label(s.type, kind="subject_type")),
        Column("division.name", _("Division"), sort="division__code"),
        Column("address", _("Address"), phone=False),
        Column("organisation", _("Organisation"), phone=False),
    )
    filters = (
        DivisionFilter(name="division", label=_("Division"), field="division"),
        ChoiceFilter(name="programme", label=_("Programme"), choices=programmes),
    )
    default_sort = "name"
    select_related = ("division", "organisation")
    empty_hint = _("Somebody answers for every subject at this level.")
    live_topic = "duty"

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        self.level = kwargs["level"]
        if self.level not in dict(level_choices()):
            raise Http404(self.level)
        return super().dispatch(request, *args, **kwargs)

    @property
    def title(self) -> str:
        return gettext("Nobody answers at %(level)s level") % {"level": level_label(self.level)}

    @property
    def actions(self) -> tuple[BulkAction, ...]:  # type: ignore[override]
        """Bound to the level in the address."""
        return (
            BulkAction(
                "assign",
                _("Make one person responsible"),
                do=self._assign,
                capability="contract.edit",
                form=ManyForm,
                icon="user-check",
            ),
            BulkAction(
                "by_post",
                _("Make whoever is in post responsible"),
                do=self._by_post,
                capability="contract.edit",
                confirm=_("Each subject gets the one person whose post covers it at this level."),
                icon="users",
            ),
        )

    def get_queryset(self) -> Any:
        return queries.gaps(self.request.user, self.level)

    def _assign(self, subject: Subject, actor: Any, data: dict[str, Any]) -> Any:
        return services.sign_contract(
            subject=subject, level=self.level, by=actor, at=timezone.now(), source="coverage", **data
        ).person

    def _by_post(self, subject: Subject, actor: Any, _data: dict[str, Any]) -> Any:
        return services.sign_by_post(subject, self.level, by=actor, at=timezone.now()).person
