"""List pages, declared: search, filters, sorting, pages by key, export, bulk actions, phone and keyboard, in one place.

A page is declared in a room's views.py::

    class HazardList(ListPage):
        model = Hazard
        title = _("Hazards")
        capability = "hazard.view"                       # "" = everyone signed in
        search = ("number", "description", "subject__name")
        columns = (
            Column("number", _("Number"), sort="number", kind="code", link=True),
            Column("subject.name", _("Subject"), sort="subject__name"),
            Column("level", _("Level"), sort="level", kind="level"),             # 1-4: colour and words
            Column("status", _("Status"), sort="status", kind="status", colours={"reported": "red", "closed": "green"}),
            Column("rectify_by", _("Deadline"), sort="rectify_by", kind="deadline", closed=lambda h: h.closed_at),
            Column("reported_at", _("Reported"), sort="reported_at", kind="datetime", phone=False),
        )
        filters = (
            ChoiceFilter(name="status", label=_("Status"), choices=Hazard.Status.choices),
            BooleanFilter(name="overdue", label=_("Overdue"), when=lambda: Q(rectify_by__lt=timezone.now())),
            DivisionFilter(name="division", label=_("Division"), field="subject__division"),
            DateRangeFilter(name="reported", label=_("Reported"), field="reported_at"),
        )
        default_sort = "-reported_at"                    # a column's key
        select_related = ("subject__division",)          # whatever the columns touch: the contract suite counts queries
        actions = (BulkAction("remind", _("Remind"), do=lambda row, actor, data: remind(row.pk, by=actor)),)
        create_url, create_label, create_capability = "hazards:report", _("Report a hazard"), "hazard.report"
        empty_hint = _("Nothing has been reported here. Report a hazard, or widen the filters.")
        live_topic = "hazard"                            # the page refreshes when this topic moves

    path("", HazardList.as_view(), name="list")

Rows come from ``model.objects.visible_to(user)``; override ``get_queryset`` to annotate or to say otherwise. A row
opens ``get_absolute_url()`` (override ``row_url``). The address holds the whole state (q, filters, sort, size, pos), so
that a list can be bookmarked; ``?export=csv`` and ``?export=xlsx`` write exactly the rows listed, on all pages.

Searching uses ILIKE on bare columns: in a big table each searched column needs a
``GinIndex(fields=["name"], opclasses=["gin_trgm_ops"])`` (one without it makes every search read the whole table), and
each sortable column an index (``F("x").desc(nulls_last=True)`` where it may be NULL). Own look-up: ``field__ilike``.

Every list's test calls ``check_list_page`` of ``zhenan.kernel.lists.contract``; query budgets are in
``zhenan.kernel.lists.testing``.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zhenan.kernel.lists.actions import BulkAction, RowResult
    from zhenan.kernel.lists.columns import Column
    from zhenan.kernel.lists.filters import (
        BooleanFilter,
        ChoiceFilter,
        DateRangeFilter,
        DivisionFilter,
        Filter,
        FilterError,
        TextFilter,
    )
    from zhenan.kernel.lists.pages import ListPage

__all__ = [
    "BooleanFilter",
    "BulkAction",
    "ChoiceFilter",
    "Column",
    "DateRangeFilter",
    "DivisionFilter",
    "Filter",
    "FilterError",
    "ListPage",
    "RowResult",
    "TextFilter",
]


def __getattr__(name: str) -> Any:
    """Import on first use: Django reads this package before its models may be read."""
    if name not in __all__:
        raise AttributeError(name)
    from zhenan.kernel.lists import actions, columns, filters, pages

    for module in (actions, columns, filters, pages):
        if hasattr(module, name):
            return getattr(module, name)
    raise AttributeError(name)
