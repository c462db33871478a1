"""Upload, dry run, confirmation, progress, result, and the list of imports."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_POST

from zhenan.kernel.access import AuthedRequest, needs
from zhenan.kernel.errors import DomainError
from zhenan.kernel.imports import exporting
from zhenan.kernel.imports.forms import UploadForm
from zhenan.kernel.imports.models import ImportRow, ImportRun
from zhenan.kernel.imports.services import begin, receive
from zhenan.kernel.imports.specs import ImportSpec, all_specs, spec_of
from zhenan.kernel.lists import BooleanFilter, ChoiceFilter, Column, ListPage

COLOURS = {"done": "green", "judged": "blue", "judging": "yellow", "applying": "yellow", "failed": "red"}
VERDICTS = {"create": "green", "update": "blue", "unchanged": "grey", "refuse": "red"}
XLSX_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
ROWS_SHOWN = 100


def specs_for(user: Any) -> dict[str, ImportSpec]:
    """The kinds of record that the user may import, by label."""
    allowed = [spec for spec in all_specs().values() if not spec.capability or user.can(spec.capability)]
    return {spec.code: spec for spec in sorted(allowed, key=lambda spec: str(spec.label))}


def label_of(code: str) -> Any:
    known = all_specs()
    return known[code].label if code in known else code


class RunList(ListPage):
    """The imports made: one's own, or all for those who see the system's state."""

    model = ImportRun
    title = gettext_lazy("Imports")
    capability = "subject.import"
    search = ("file_name", "sha256")
    search_hint = gettext_lazy("File name")
    columns = (
        Column("file_name", gettext_lazy("File"), link=True),
        Column("spec", gettext_lazy("Kind of record"), value=lambda run: label_of(run.spec)),
        Column("state", gettext_lazy("State"), kind="status", colours=COLOURS),
        Column("rows", gettext_lazy("Rows"), kind="number"),
        Column("created", gettext_lazy("New"), kind="number", value=lambda run: run.count("created")),
        Column("updated", gettext_lazy("Changed"), kind="number", value=lambda run: run.count("updated")),
        Column("refused", gettext_lazy("Refused"), kind="number"),
        Column("actor", gettext_lazy("By"), phone=False, value=lambda run: run.actor or _("command line")),
        Column("at", gettext_lazy("Uploaded"), kind="datetime", sort="at"),
    )
    filters = (ChoiceFilter(name="state", label=gettext_lazy("State"), choices=ImportRun.State.choices),)
    default_sort = "-at"
    select_related = ("actor",)
    create_url, create_label, create_capability = "imports:upload", gettext_lazy("Import a file"), "subject.import"
    empty_hint = gettext_lazy("No file was imported yet. Start with a dry run: it changes nothing.")


class RowList(ListPage):
    """The rows of one run with their verdicts."""

    model = ImportRow
    capability = "subject.import"
    search = ("title",)
    columns = (
        Column("line", gettext_lazy("Row"), kind="number", sort="line"),
        Column("title", gettext_lazy("Record"), sort="title"),
        Column("verdict", gettext_lazy("Verdict"), kind="status", colours=VERDICTS),
        Column("text", gettext_lazy("Why"), template="imports/_messages.html"),
    )
    filters = (
        ChoiceFilter(name="verdict", label=gettext_lazy("Verdict"), choices=ImportRow.Verdict.choices),
        BooleanFilter(name="warned", label=gettext_lazy("With a warning")),
    )
    default_sort = "line"

    @cached_property
    def run(self) -> ImportRun:
        return get_object_or_404(ImportRun.objects.visible_to(self.request.user), pk=self.kwargs["pk"])

    @property
    def title(self) -> str:
        return _("Rows of %(file)s") % {"file": self.run.file_name}

    def get_queryset(self) -> QuerySet[Any]:
        return ImportRow.objects.visible_to(self.request.user).filter(run=self.run)


@needs("subject.import")
def upload(request: AuthedRequest) -> HttpResponse:
    """Take a file, judge it, show the verdicts."""
    specs = specs_for(request.user)
    form = UploadForm(
        request.POST or None, request.FILES or None, specs=specs, initial={"spec": request.GET.get("type")}
    )
    if request.method == "POST" and form.is_valid():
        file = form.cleaned_data["file"]
        at = timezone.now()
        try:
            run = receive(
                file,
                file.name,
                specs[form.cleaned_data["spec"]],
                actor=request.user,
                at=at,
                whole=form.cleaned_data["whole"],
            )
            begin(run.pk, actor=request.user, at=at, write=False)
            return redirect(run)
        except DomainError as err:
            form.add_error("file", str(err))
    context = {"form": form, "specs": specs, "title": _("Import a file")}
    return render(request, "imports/upload.html", context, status=422 if form.errors else 200)


def _run(request: HttpRequest, pk: int) -> ImportRun:
    return get_object_or_404(ImportRun.objects.visible_to(request.user).select_related("actor"), pk=pk)


def _context(request: HttpRequest, run: ImportRun) -> dict[str, Any]:
    rows = run.judged_rows.order_by("line")
    wrong = rows.filter(verdict="refuse")[:ROWS_SHOWN]
    return {
        "run": run,
        "label": label_of(run.spec),
        "title": run.file_name,
        "refused_rows": wrong,
        "warned_rows": rows.filter(warned=True).exclude(verdict="refuse")[:ROWS_SHOWN],
        "colour": COLOURS[run.state],
        "mine": run.actor_id == request.user.pk,
        "shown_at_most": ROWS_SHOWN,
    }


@needs("subject.import")
@require_GET
def run(request: AuthedRequest, pk: int) -> HttpResponse:
    """A run: its progress, or what became of the file."""
    return render(request, "imports/run.html", _context(request, _run(request, pk)))


@needs("subject.import")
@require_GET
def progress(request: AuthedRequest, pk: int) -> HttpResponse:
    """The part of the run's page that asks again while the worker is at it."""
    found = _run(request, pk)
    response = render(request, "imports/_progress.html", {"run": found})
    if not found.busy:
        response["HX-Refresh"] = "true"
    return response


@needs("subject.import")
@require_POST
def confirm(request: AuthedRequest, pk: int) -> HttpResponse:
    """Import what the dry run showed."""
    found = _run(request, pk)
    try:
        begin(found.pk, actor=request.user, at=timezone.now(), write=True)
    except DomainError as err:
        found.refresh_from_db()
        return render(request, "imports/run.html", {**_context(request, found), "problem": str(err)}, status=422)
    return redirect(found)


@needs("subject.import")
@require_GET
def refused(request: AuthedRequest, pk: int) -> StreamingHttpResponse:
    """The refused rows in the layout of the file, with a reason each."""
    found = _run(request, pk)
    kind = "xlsx" if found.facts.get("kind") == "workbook" else "csv"
    stem = found.file_name.rsplit(".", 1)[0]
    return _download(kind, _("%(file)s refused") % {"file": stem}, exporting.refused_table(found))


@needs("subject.import")
@require_GET
def template(request: AuthedRequest) -> StreamingHttpResponse | HttpResponseRedirect:
    """An empty workbook to fill in."""
    spec = specs_for(request.user).get(request.GET.get("type", ""))
    if spec is None:
        raise Http404
    return _download("xlsx", str(spec_of(spec.code).label), exporting.template_table(spec))


def _download(kind: str, name: str, table: Any) -> StreamingHttpResponse:
    content_type = XLSX_TYPE if kind == "xlsx" else "text/csv; charset=utf-8"
    response = StreamingHttpResponse(exporting.pieces(kind, table), content_type=content_type)
    response["Content-Disposition"] = f"attachment; filename*=UTF-8''{quote(name)}.{kind}"
    response["X-Content-Type-Options"] = "nosniff"
    return response
