"""Pages of hazards: report, detail with the whole loop, one address for each step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from zhenan.domains.hazards import services, steps
from zhenan.domains.hazards.actions import ACTIONS
from zhenan.domains.hazards.doubts import doubts
from zhenan.domains.hazards.forms import FORMS, ReportForm, StepForm, subjects_for
from zhenan.domains.hazards.lists import COLOURS
from zhenan.domains.hazards.models import Hazard
from zhenan.domains.register.models import Subject
from zhenan.kernel.access import AuthedRequest, needs
from zhenan.kernel.errors import DomainError
from zhenan.kernel.evidence import services as evidence
from zhenan.kernel.workflow.models import Deadline

SERVICES: dict[str, Callable[..., Any]] = {
    "grade": services.grade_hazard,
    "assign": services.assign,
    "plan": services.fill_plan,
    "submit": services.submit_rectification,
    "accept": services.accept,
    "reject": services.reject,
    "ask_extension": services.request_extension,
    "decide_extension": services.decide_extension,
    "suspend": services.suspend_operation,
    "resume": services.resume_operation,
    "list": services.list_for_supervision,
    "apply": services.apply_for_review,
    "delist": services.delist,
    "refuse_delisting": services.refuse_delisting,
    "transfer": services.transfer,
    "receive": services.receive_transfer,
}


@needs("hazard.view")
def detail(request: AuthedRequest, pk: int) -> HttpResponse:
    return _page(request, _visible(request, pk))


@require_POST
@needs("hazard.view")
def act(request: AuthedRequest, pk: int, action: str) -> HttpResponse:
    """One step of the loop; what is wrong is shown at its form, and nothing changes."""
    if action not in ACTIONS:
        raise Http404(action)
    hazard = _visible(request, pk)
    form = FORMS[action](request.POST, request.FILES, hazard=hazard, prefix=action)
    if form.is_valid():
        try:
            SERVICES[action](pk, by=request.user, at=timezone.now(), **form.values())
        except DomainError as err:
            form.add_error(None, str(err))
        else:
            messages.success(request, _("Done: %(step)s") % {"step": ACTIONS[action].label})
            return redirect("hazards:detail", pk=pk)
    return _page(request, _visible(request, pk), tried=action, form=form, status=422)


@needs("hazard.report")
def report(request: AuthedRequest, subject_pk: int | None = None) -> HttpResponse:
    """Report a find: first which subject, then what; a subject's page leads straight to the second."""
    if subject_pk is None:
        text = request.GET.get("q", "").replace("\x00", "").strip()[:100]
        found = subjects_for(request.user, text)
        context = {"title": _("Report a hazard"), "q": text, "subjects": found, "back": reverse("hazards:list")}
        return render(request, "hazards/report_subject.html", context)
    subject = get_object_or_404(Subject.objects.visible_to(request.user, "hazard.report"), pk=subject_pk)
    first = {"source": "self_check" if request.user.can("hazard.rectify") else "inspection"}
    form = ReportForm(request.POST or None, request.FILES or None, initial=first)
    if request.method == "POST" and form.is_valid():
        try:
            hazard = _report(request, subject, form)
        except DomainError as err:
            form.add_error(None, str(err))
        else:
            messages.success(request, _("Reported as %(number)s") % {"number": hazard.number})
            return redirect("hazards:detail", pk=hazard.pk)
    shown: dict[str, Any] = {"title": _("Report a hazard"), "subject": subject, "form": form}
    shown["back"] = reverse("hazards:list")
    return render(request, "hazards/report.html", shown, status=422 if form.errors else 200)


def _report(request: AuthedRequest, subject: Subject, form: ReportForm) -> Hazard:
    data = form.cleaned_data
    names = ("title", "description", "location", "source", "criterion_code", "criterion_text", "legal_basis")
    given: dict[str, Any] = {name: data[name] for name in names} | form.place()
    if data["fixed"]:
        return services.report_fixed_on_spot(
            subject=subject, by=request.user, at=timezone.now(), before=data["photos"], after=data["after"],
            done_by_name=data["done_by_name"], **given,
        )  # fmt: skip
    return services.report_hazard(
        subject=subject, by=request.user, at=timezone.now(), severity=data["severity"], photos=data["photos"], **given
    )


def _visible(request: HttpRequest, pk: int) -> Hazard:
    rows = Hazard.objects.visible_to(request.user)
    related = (
        "subject__division",
        "subject__organisation",
        "rectifier",
        "verifier",
        "former",
        "department",
        "found_by",
    )
    return get_object_or_404(rows.select_related(*related), pk=pk)


def _page(
    request: AuthedRequest, hazard: Hazard, *, tried: str = "", form: StepForm | None = None, status: int = 200
) -> HttpResponse:
    at = timezone.now()
    deadlines = list(Deadline.objects.open().filter(target=f"hazards.hazard:{hazard.pk}").select_related("owner"))
    open_steps: list[dict[str, Any]] = []
    closed_steps: list[steps.Possible] = []
    for step in steps.possible(hazard, request.user):
        if step.open or step.action.code == tried:
            shown = (
                form
                if step.action.code == tried and form
                else FORMS[step.action.code](hazard=hazard, prefix=step.action.code)
            )
            open_steps.append({"action": step.action, "form": shown, "tried": step.action.code == tried})
        else:
            closed_steps.append(step)
    photos = evidence.of(hazard)
    context = {
        "title": f"{hazard.number} {hazard.title}", "hazard": hazard, "road": steps.road(hazard),
        "next": steps.next_step(hazard, at, deadlines), "open_steps": open_steps, "closed_steps": closed_steps,
        "colour": COLOURS.get(hazard.state, "grey"), "deadlines": deadlines, "rounds": _rounds(hazard, photos),
        "found_photos": [p for p in photos if p.purpose == "before"],
        "findings": list(hazard.findings.select_related("found_by", "organisation")),
        "extensions": list(hazard.extensions.select_related("asked_by", "decided_by")),
        "suspensions": list(hazard.suspensions.select_related("ordered_by", "lifted_by")),
        "transfers": list(hazard.transfers.select_related("to", "made_by", "received_by")),
        "reviews": list(hazard.reviews.select_related("applied_by", "reviewed_by")),
        "listing": getattr(hazard, "supervision", None) if hazard.listed else None,
        "lost": form if form is not None and all(not s["tried"] for s in open_steps) else None,
    }  # fmt: skip
    return render(request, "hazards/detail.html", context, status=status)


def _rounds(hazard: Hazard, photos: list[Any]) -> list[dict[str, Any]]:
    """The rounds, the latest first, each with its photos before, after and of the check."""
    found = []
    for one in hazard.rounds.select_related("submitted_by", "verified_by", "verified_org", "rectifier").order_by(
        "-number"
    ):
        before, after, check = one.purposes
        shown, proof = ([p for p in photos if p.purpose == purpose] for purpose in (before, after))
        found.append(
            {
                "round": one,
                # A later round starts from what the one before it left, else from what was found.
                "before": shown or [p for p in photos if p.purpose == "before"],
                "after": proof,
                "doubts": doubts(one, proof, photos),
                "check": [p for p in photos if p.purpose == check],
            }
        )
    return found
