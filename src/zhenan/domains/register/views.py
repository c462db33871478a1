"""A subject's page, its printed file, and the forms that add and change one."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from zhenan.domains.register import attributes as typed
from zhenan.domains.register import services
from zhenan.domains.register.forms import NoteForm, SubjectForm
from zhenan.domains.register.lists import STATUS_COLOURS
from zhenan.domains.register.models import Subject
from zhenan.domains.register.services import BadSubject
from zhenan.kernel.access import AuthedRequest, needs
from zhenan.kernel.errors import DomainError
from zhenan.packkit.registry import registry


def _subject(request: AuthedRequest, pk: int, capability: str = "") -> Subject:
    rows = Subject.objects.visible_to(request.user, capability).select_related("division", "organisation", "owner")
    return get_object_or_404(rows, pk=pk)


def _context(request: AuthedRequest, subject: Subject) -> dict[str, Any]:
    kind = typed.kind_of(subject.type)
    may_edit = request.user.can("subject.edit") and services.may_place(request.user, subject)
    return {
        "subject": subject,
        "title": subject.name,
        "type_label": typed.type_label(subject.type),
        "icon_name": kind.icon if kind else "building",
        "colour": STATUS_COLOURS[subject.status],
        "may_edit": may_edit,
        "now": timezone.now(),
    }


@needs("subject.view")
@require_GET
def detail(request: AuthedRequest, pk: int) -> HttpResponse:
    """One subject: what it is, and what every room knows of it."""
    return render(request, "register/detail.html", _context(request, _subject(request, pk)))


@needs("subject.view")
@require_GET
def file(request: AuthedRequest, pk: int) -> HttpResponse:
    """The subject's file for printing (一企一档)."""
    return render(request, "register/file.html", _context(request, _subject(request, pk)))


@needs("subject.edit")
def create(request: AuthedRequest) -> HttpResponse:
    """Add a subject: choose the type, then fill in its fields."""
    known = {kind.code: kind for kind in registry().subject_types()}
    kind = known.get(request.GET.get("type", ""))
    if kind is None:
        types = [(k.code, k.name.label(typed.lang()), k.icon, typed.lang()) for k in known.values()]
        return render(request, "register/choose_type.html", {"types": types, "title": _("Add a subject")})
    form = SubjectForm(request.POST or None, kind=kind, user=request.user)
    if request.method == "POST" and form.is_valid():
        try:
            subject = services.create_subject(
                actor=request.user,
                at=timezone.now(),
                type=kind.code,
                key=form.cleaned_data.get("key", ""),
                attributes=form.attributes(),
                source="form",
                **form.basics(),
            )
            return redirect(subject)
        except BadSubject as err:
            form.take_errors(err.errors)
        except DomainError as err:
            form.add_error(None, str(err))
    title = _("Add: %(type)s") % {"type": kind.name.label(typed.lang())}
    return render(request, "register/form.html", {"form": form, "title": title}, status=422 if form.errors else 200)


@needs("subject.edit")
def edit(request: AuthedRequest, pk: int) -> HttpResponse:
    """Change a subject."""
    subject = _subject(request, pk, "subject.edit")
    kind = services.kind_or_fault(subject.type)
    form = SubjectForm(request.POST or None, kind=kind, user=request.user, subject=subject)
    if request.method == "POST" and form.is_valid():
        changes = {**form.basics(), "attributes": form.attributes()}
        try:
            seen = _moment(form.cleaned_data["seen"])
            services.update_subject(pk, actor=request.user, at=timezone.now(), changes=changes, seen=seen)
            return redirect(subject)
        except BadSubject as err:
            form.take_errors(err.errors)
        except DomainError as err:
            form.add_error(None, str(err))
    context = {"form": form, "title": _("Change: %(name)s") % {"name": subject.name}, "subject": subject}
    return render(request, "register/form.html", context, status=422 if form.errors else 200)


def _moment(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        return None


@needs("subject.edit")
@require_POST
def status(request: AuthedRequest, pk: int) -> HttpResponse:
    """Suspend, close, or take into operation again, with a reason."""
    subject = _subject(request, pk, "subject.edit")
    form = NoteForm(request.POST)
    problem = ""
    if form.is_valid():
        try:
            services.set_status(
                pk,
                request.POST.get("status", ""),
                actor=request.user,
                at=timezone.now(),
                note=form.cleaned_data["note"],
            )
            return redirect(subject)
        except DomainError as err:
            problem = str(err)
    else:
        problem = _("Give a reason.")
    subject.refresh_from_db()
    context = {**_context(request, _subject(request, pk)), "problem": problem}
    return render(request, "register/detail.html", context, status=422)
