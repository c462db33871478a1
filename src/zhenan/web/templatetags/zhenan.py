"""Components of pages as template tags: ``{% load zhenan %}``. See web/README.md."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import date, datetime, time
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from django import template
from django.db.models import Model
from django.forms import BoundField, Form
from django.template.loader import render_to_string
from django.utils import formats, timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext, pgettext

from zhenan.kernel import slots
from zhenan.kernel.events import kinds
from zhenan.kernel.events.services import timeline_of
from zhenan.kernel.evidence import services as evidence_services
from zhenan.web.scope import hears_topic

register = template.Library()
COLOURS = ("red", "orange", "yellow", "blue", "green", "grey")
HOUR, DAY = 3600, 86400


@register.simple_tag
def icon(name: str, label: Any = "") -> SafeString:
    """A Tabler icon; silent to screen readers unless it has a label."""
    if label:
        return format_html('<i class="ti ti-{}" role="img" aria-label="{}"></i>', name, label)
    return format_html('<i class="ti ti-{}" aria-hidden="true"></i>', name)


def level_word(level: Any) -> str:
    """The words for a level from 1 (gravest) to 4."""
    words = {
        1: pgettext("level", "Level 1"),
        2: pgettext("level", "Level 2"),
        3: pgettext("level", "Level 3"),
        4: pgettext("level", "Level 4"),
    }
    return words.get(level, str(level))


@register.simple_tag
def level(value: Any, label: Any = "") -> SafeString:
    """Badge of a level 1-4 in red, orange, yellow, blue: with words and bars, never by colour alone."""
    try:
        number = int(value)
    except (TypeError, ValueError):
        number = 0
    if number not in (1, 2, 3, 4):
        return format_html('<span class="badge tone-grey">{}</span>', "–" if value in (None, "") else value)
    return format_html(
        '<span class="badge level level-{}"><span class="bars" aria-hidden="true"></span>{}</span>',
        number,
        label or level_word(number),
    )


@register.simple_tag
def status(text: Any, colour: str = "grey") -> SafeString:
    """Badge of a state: a coloured dot and the words."""
    tone = colour if colour in COLOURS else "grey"
    return format_html(
        '<span class="badge state tone-{}"><span class="dot" aria-hidden="true"></span>{}</span>', tone, text
    )


def span_words(seconds: float) -> str:
    """A length of time in its two largest fitting words: 3 days, 5 hours, 12 minutes."""
    seconds = abs(int(seconds))
    if seconds >= 2 * DAY:
        days = seconds // DAY
        return ngettext("%(n)s day", "%(n)s days", days) % {"n": days}
    if seconds >= HOUR:
        hours, minutes = seconds // HOUR, seconds % HOUR // 60
        if hours >= 12 or minutes == 0:
            return ngettext("%(n)s hour", "%(n)s hours", hours) % {"n": hours}
        return _("%(h)s h %(m)s min") % {"h": hours, "m": minutes}
    minutes = max(seconds // 60, 0)
    return ngettext("%(n)s minute", "%(n)s minutes", minutes) % {"n": minutes} if minutes else _("less than a minute")


def _moment(value: Any) -> datetime | None:
    if isinstance(value, datetime):
        return timezone.localtime(value) if timezone.is_aware(value) else timezone.make_aware(value)
    if isinstance(value, date):
        return timezone.make_aware(datetime.combine(value, time(23, 59, 59)))
    return None


@register.simple_tag
def deadline(due: Any, closed: Any = False) -> SafeString:
    """Badge of a deadline: what remains, or by how much it is overdue; plain time when the clock has stopped.

    ``closed``: truthy when done. Given a datetime, lateness is measured against it.
    """
    at = _moment(due)
    if at is None:
        return format_html('<span class="text-secondary">{}</span>', _("no deadline"))
    shown = at.strftime("%Y-%m-%d %H:%M")
    end = _moment(closed) if isinstance(closed, datetime | date) else None
    if closed:
        if end is not None and end > at:
            return _due(
                "grey", _("%(span)s late") % {"span": span_words((end - at).total_seconds())}, at, shown, "check"
            )
        return _due("green", _("in time") if end is not None else shown, at, shown, "check")
    left = (at - timezone.now()).total_seconds()
    if left < 0:
        return _due("red", _("%(span)s overdue") % {"span": span_words(left)}, at, shown, "alarm")
    tone = "orange" if left < DAY else "yellow" if left < 3 * DAY else "blue"
    return _due(tone, _("%(span)s left") % {"span": span_words(left)}, at, shown, "clock")


def _due(tone: str, words: str, at: datetime, shown: str, sign: str) -> SafeString:
    return format_html(
        '<time class="badge due tone-{}" datetime="{}" title="{}"><i class="ti ti-{}" aria-hidden="true"></i>{}</time>',
        tone, at.isoformat(), shown, sign, words,
    )  # fmt: skip


@register.simple_tag
def moment(value: Any) -> SafeString | str:
    """A time as local date and time; of today only the time, with the day as title."""
    at = _moment(value)
    if at is None:
        return "–"
    full = at.strftime("%Y-%m-%d %H:%M:%S")
    today = at.date() == timezone.localdate()
    text = _("today %(time)s") % {"time": at.strftime("%H:%M")} if today else at.strftime("%Y-%m-%d %H:%M")
    return format_html('<time datetime="{}" title="{}">{}</time>', at.isoformat(), full, text)


@register.simple_tag
def ago(value: Any) -> SafeString | str:
    """How long ago; the exact time as title."""
    at = _moment(value)
    if at is None:
        return "–"
    seconds = (timezone.now() - at).total_seconds()
    words = _("just now") if -60 < seconds < 60 else _("%(span)s ago") % {"span": span_words(seconds)}
    if seconds <= -60:
        words = _("in %(span)s") % {"span": span_words(seconds)}
    return format_html(
        '<time datetime="{}" title="{}">{}</time>', at.isoformat(), at.strftime("%Y-%m-%d %H:%M:%S"), words
    )


@register.simple_tag
def number(value: Any, digits: int | None = None) -> str:
    """A number with grouping, and no more digits than it has: two below a hundred, one above, or ``digits``."""
    if value is None or value == "":
        return "–"
    if not isinstance(value, int | float | Decimal) or (isinstance(value, float) and not math.isfinite(value)):
        return str(value)
    if isinstance(value, int):
        return str(formats.number_format(value, force_grouping=True))
    places = digits if digits is not None else 2 if -100 < value < 100 else 1
    # Django's number_format cuts digits off; people expect them rounded.
    rounded = Decimal(str(value)).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)
    text = str(formats.number_format(rounded, places, force_grouping=True))
    return text.rstrip("0").rstrip(".") if digits is None and "." in text else text


@register.inclusion_tag("components/page_header.html")
def page_header(
    title: Any, lead: Any = "", back_url: str = "", back_label: Any = "", action_url: str = "", action_label: Any = ""
) -> dict[str, Any]:
    """The heading of a page, the way back and its main action."""
    return {
        "title": title, "lead": lead, "back_url": back_url, "back_label": back_label,
        "action_url": action_url, "action_label": action_label,
    }  # fmt: skip


@register.inclusion_tag("components/empty.html")
def empty_state(title: Any, hint: Any = "", url: str = "", label: Any = "", sign: str = "inbox") -> dict[str, Any]:
    """Nothing is here: says what to do next."""
    return {"title": title, "hint": hint, "url": url, "label": label, "sign": sign}


@register.inclusion_tag("components/progress.html")
def progress(value: Any, total: Any, label: Any = "") -> dict[str, Any]:
    """How much of how much is done, as a bar and in figures."""
    done, whole = float(value or 0), float(total or 0)
    pct = 0.0 if whole <= 0 else max(0.0, min(100.0, done / whole * 100))
    return {"value": value or 0, "total": total or 0, "pct": round(pct, 1), "label": label}


@register.inclusion_tag("components/field.html")
def field(bound: BoundField, inline: bool = False) -> dict[str, Any]:
    """A form field with its label, help and errors."""
    widget: Any = bound.field.widget
    kind = getattr(widget, "input_type", "")
    wide = type(widget).__name__
    many = wide in ("RadioSelect", "CheckboxSelectMultiple")
    css = {"checkbox": "form-check-input", "select": "form-select"}.get(
        "" if many else kind, "" if many else "form-control"
    )
    attrs: dict[str, Any] = {
        "class": f"{css} {widget.attrs.get('class', '')}{' is-invalid' if bound.errors else ''}".strip()
    }
    described = [f"{bound.auto_id}_errors"] * bool(bound.errors) + [f"{bound.auto_id}_help"] * bool(bound.help_text)
    if described:
        attrs["aria-describedby"] = " ".join(described)
    if bound.errors:
        attrs["aria-invalid"] = "true"
    return {"field": bound, "control": bound.as_widget(attrs=attrs), "check": kind == "checkbox" and not many,
            "many": many, "inline": inline}  # fmt: skip


@register.inclusion_tag("components/form_fields.html")
def form_fields(form: Form) -> dict[str, Any]:
    """All fields of a form, hidden ones too, with the errors of the form above them."""
    return {"form": form}


@register.inclusion_tag("components/timeline.html", takes_context=True)
def timeline(context: dict[str, Any], source: Any) -> dict[str, Any]:
    """An object's events (or a list of events), the newest first, of topics that the reader may know."""
    events = timeline_of(source) if isinstance(source, Model | str) else list(source)
    request = context.get("request")
    if request is not None:
        events = [event for event in events if hears_topic(request.user, kinds.topic(event.kind))]
    return {"events": events, "request": request}


@register.inclusion_tag("components/evidence.html", takes_context=True)
def evidence_gallery(context: dict[str, Any], source: Any, purpose: str = "") -> dict[str, Any]:
    """Photos and documents of an object (or a list of evidence), with time, place and hash."""
    items = evidence_services.of(source) if isinstance(source, Model | str) else list(source)
    return {"items": [e for e in items if not purpose or e.purpose == purpose], "request": context.get("request")}


@register.simple_tag(takes_context=True)
def panels(context: dict[str, Any], target: str, obj: Any) -> SafeString:
    """The panels that rooms put on an object's page, for those who hold their capability."""
    request = context["request"]
    parts = []
    for panel in slots.panels.ordered():
        if panel.target != target or (panel.capability and not request.user.can(panel.capability)):
            continue
        loaded = panel.load(request, obj)
        if loaded is not None:
            body = render_to_string(panel.template, {**loaded, "object": obj, "panel": panel}, request)
            parts.append((panel.code, panel.label, body))
    return _panel_cards(parts)


@register.inclusion_tag("components/actions.html", takes_context=True)
def actions(context: dict[str, Any], target: str, obj: Any) -> dict[str, Any]:
    """The links that rooms put on an object's page, for those who hold their capability."""
    request = context["request"]
    found = [
        (action, action.url(request, obj))
        for action in slots.actions.ordered()
        if action.target == target and (not action.capability or request.user.can(action.capability))
    ]
    return {"links": [(action, url) for action, url in found if url]}


def _panel_cards(parts: Iterable[tuple[str, Any, str]]) -> SafeString:
    cards = [
        format_html(
            '<section class="card panel" id="panel-{}" aria-labelledby="panel-{}-title"><div class="card-header">'
            '<h2 class="card-title" id="panel-{}-title">{}</h2></div>{}</section>',
            code, code, code, label, SafeString(body),
        )
        for code, label, body in parts
    ]  # fmt: skip
    return SafeString("".join(cards))
