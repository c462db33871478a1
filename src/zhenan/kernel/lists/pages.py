"""The view behind every list page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import urlencode

from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils.cache import patch_vary_headers
from django.utils.functional import cached_property
from django.utils.translation import gettext as _
from django.views import View

from zhenan.kernel.lists import export
from zhenan.kernel.lists.actions import AT_MOST, BulkAction, run
from zhenan.kernel.lists.columns import Cell, Column
from zhenan.kernel.lists.filters import MAX_LENGTH, BoundFilter, Filter
from zhenan.kernel.lists.paging import BadPosition, Count, Page, Sort, count_of, ordered, page_of

Text = Any  # str or a lazy translation


@dataclass(frozen=True)
class Heading:
    """A column's heading: how it is sorted now, and the sort that a click asks for."""

    column: Column
    aria_sort: str  # "ascending", "descending", "none" or "" (not sortable)
    next_sort: str


@dataclass(frozen=True)
class Row:
    """A row for the template."""

    obj: Any
    url: str
    cells: list[Cell]


class ListPage(View):
    """A list of a model's rows; see the package's docstring for a whole declaration."""

    model: ClassVar[type[Model]]
    title: ClassVar[Text] = ""
    lead: ClassVar[Text] = ""
    capability: ClassVar[str] = ""
    export_capability: ClassVar[str] = ""
    columns: ClassVar[Sequence[Column]] = ()
    filters: ClassVar[Sequence[Filter]] = ()
    search: ClassVar[Sequence[str]] = ()
    search_hint: ClassVar[Text] = ""
    default_sort: ClassVar[str] = ""
    page_sizes: ClassVar[Sequence[int]] = (25, 50, 100, 200)
    select_related: ClassVar[Sequence[str]] = ()
    prefetch_related: ClassVar[Sequence[Any]] = ()
    actions: ClassVar[Sequence[BulkAction]] = ()
    create_url: ClassVar[str] = ""
    create_label: ClassVar[Text] = ""
    create_capability: ClassVar[str] = ""
    empty_hint: ClassVar[Text] = ""
    live_topic: ClassVar[str] = ""
    template_name: ClassVar[str] = "lists/page.html"
    problems: list[str]

    def get_queryset(self) -> QuerySet[Any]:
        """Every row this user may see."""
        manager: Any = self.model._default_manager
        return manager.visible_to(self.request.user)

    def row_url(self, row: Any) -> str:
        """Where a row leads; "" for nowhere."""
        return row.get_absolute_url() if hasattr(row, "get_absolute_url") else ""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not request.user.is_authenticated:
            return redirect_to_login(request.get_full_path())
        if not self._may(self.capability):
            raise PermissionDenied(self.capability)
        self.problems = []
        return super().dispatch(request, *args, **kwargs)

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        kind = request.GET.get("export", "")
        if kind in ("csv", "xlsx") and self.may_export:
            return export.response(
                request, kind, str(self.title), self.exported_columns, ordered(self.matching, self.sort)
            )
        if kind in ("csv", "xlsx"):
            raise PermissionDenied(self.export_capability)
        if kind:
            self.problems.append(_("There is no export “%(came)s”; csv and xlsx exist.") % {"came": kind[:20]})
        partial = self._wants_results()
        answer = render(
            request, "lists/_results.html" if partial else self.template_name, self.context(partial=partial)
        )
        if partial:
            answer["HX-Push-Url"] = f"{request.path}?{self.state()}" if self.state() else request.path
        patch_vary_headers(answer, ["HX-Request"])
        return answer

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """A bulk action: the first POST asks once more, the second (``confirmed``) does it."""
        action = next((a for a in self.allowed_actions if a.code == request.POST.get("action")), None)
        if action is None:
            raise PermissionDenied(request.POST.get("action", "")[:40])
        rows = self._chosen()
        form = None
        if action.form is not None:
            form = action.form(request.POST if "confirmed" in request.POST else None)
        context = {
            "list": self,
            "title": action.label,
            "action": action,
            "rows": rows,
            "form": form,
            "back": request.get_full_path(),
        }
        context["at_most"] = AT_MOST
        if (
            not rows
            or len(rows) > AT_MOST
            or "confirmed" not in request.POST
            or (form is not None and not form.is_valid())
        ):
            bad = not rows or len(rows) > AT_MOST or (form is not None and form.is_bound)
            return render(request, "lists/confirm.html", context, status=422 if bad else 200)
        results = run(action, rows, request.user, form.cleaned_data if form else {})
        context |= {"results": results, "done": sum(r.done for r in results)}
        context["refused"] = len(results) - context["done"]
        return render(request, "lists/result.html", context)

    # What the request asks for

    @cached_property
    def bound_filters(self) -> list[BoundFilter]:
        return [f.bind(self.request) for f in self.filters]

    @cached_property
    def query(self) -> str:
        """The search text; unreadable text gives a message and searches nothing."""
        text = self.request.GET.get("q", "").strip()
        if "\x00" in text or len(text) > MAX_LENGTH:
            self.problems.append(
                _("The search text is unreadable or longer than %(n)s characters.") % {"n": MAX_LENGTH}
            )
            return ""
        return text

    @cached_property
    def sort(self) -> Sort:
        """The order asked for, else the default one, else by key."""
        asked = self.request.GET.get("sort", "")
        found = self._sort(asked)
        if asked and found is None:
            self.problems.append(_("This list cannot be sorted by “%(came)s”.") % {"came": asked[:40]})
        return found or self._sort(self.default_sort) or Sort("", "pk", descending=True)

    def _sort(self, asked: str) -> Sort | None:
        key = asked.removeprefix("-")
        for column in self.columns:
            if column.sort and column.key == key:
                return Sort(key, column.sort, descending=asked.startswith("-"))
        return None

    @cached_property
    def size(self) -> int:
        asked = self.request.GET.get("size", "")
        if asked in {str(size) for size in self.page_sizes}:
            return int(asked)
        if asked:
            self.problems.append(
                _("A page of “%(came)s” rows cannot be had; choose %(sizes)s.")
                % {"came": asked[:20], "sizes": ", ".join(str(s) for s in self.page_sizes)}
            )
        return self.page_sizes[0]

    @property
    def reachable(self) -> QuerySet[Any]:
        """Every visible row, with what the columns touch."""
        rows = self.get_queryset()
        if self.select_related:
            rows = rows.select_related(*self.select_related)
        if self.prefetch_related:
            rows = rows.prefetch_related(*self.prefetch_related)
        return rows

    @cached_property
    def matching(self) -> QuerySet[Any]:
        """The visible rows that meet search and filters, unordered."""
        rows = self.reachable
        for word in self.query.split() if self.search else []:
            wanted = Q()
            for path in self.search:
                wanted |= Q(**{f"{path}__ilike": word})
            rows = rows.filter(wanted)
        for bound in self.bound_filters:
            if bound.condition is not None:
                rows = rows.filter(bound.condition)
        return rows

    @cached_property
    def count(self) -> Count:
        return count_of(self.matching)

    @cached_property
    def page(self) -> Page:
        try:
            return page_of(self.matching, self.sort, self.request.GET.get("pos", ""), self.size, self.count)
        except BadPosition:
            self.problems.append(_("The page asked for cannot be found; this is the first one."))
            return page_of(self.matching, self.sort, "", self.size, self.count)

    # What the template shows

    @property
    def headings(self) -> list[Heading]:
        headings = []
        for column in self.columns:
            current = bool(column.sort) and column.key == self.sort.key
            state = "none" if column.sort else ""
            if current:
                state = "descending" if self.sort.descending else "ascending"
            following = f"-{column.key}" if current and not self.sort.descending else column.key
            headings.append(Heading(column, state, following))
        return headings

    @cached_property
    def rows(self) -> list[Row]:
        return [Row(obj, self.row_url(obj), [Cell(c, obj) for c in self.columns]) for obj in self.page.rows]

    @property
    def exported_columns(self) -> list[Column]:
        return [column for column in self.columns if column.export]

    @property
    def may_export(self) -> bool:
        return self._may(self.export_capability)

    @property
    def allowed_actions(self) -> list[BulkAction]:
        return [action for action in self.actions if self._may(action.capability)]

    @property
    def filtered(self) -> bool:
        return bool(self.query) or any(bound.given for bound in self.bound_filters)

    @property
    def back(self) -> tuple[str, Text]:
        """Address and name of the page that the list is a part of; none for a list of its own."""
        return "", ""

    @property
    def create_link(self) -> str:
        return reverse(self.create_url) if self.create_url and self._may(self.create_capability) else ""

    def state(self, **changed: str) -> str:
        """The list's state as a query string, without empty keys; ``changed`` replaces keys ("" removes)."""
        known = ["q", *(key for f in self.filters for key in f.keys), "sort", "size", "pos"]
        kept = {key: changed.get(key, self.request.GET.get(key, "")).strip() for key in known}
        return urlencode({key: value for key, value in kept.items() if value})

    def context(self, *, partial: bool) -> dict[str, Any]:
        # Everything is read before the template prints the problems found on the way.
        _read = (self.query, self.bound_filters, self.sort, self.size, self.count, self.rows)
        return {"list": self, "partial": partial, "title": self.title}

    def _may(self, capability: str) -> bool:
        user: Any = self.request.user
        return capability == "" or user.can(capability)

    def _wants_results(self) -> bool:
        headers = self.request.headers
        return headers.get("HX-Target") == "list-results" and "HX-History-Restore-Request" not in headers

    def _chosen(self) -> list[Any]:
        """The rows of a bulk action, in the list's order, at most one more than allowed; only rows the user sees."""
        if self.request.POST.get("all") == "1":
            return list(ordered(self.matching, self.sort)[: AT_MOST + 1])
        pks = [pk for pk in map(self._pk, self.request.POST.getlist("ids")[: AT_MOST + 1]) if pk is not None]
        return list(ordered(self.reachable.filter(pk__in=pks), self.sort)[: AT_MOST + 1])

    def _pk(self, raw: str) -> Any:
        field = self.model._meta.pk
        try:
            value = field.to_python(raw[:64])
        except (ValidationError, ValueError, OverflowError):
            return None
        return None if isinstance(value, int) and abs(value) >= 2**63 else value
