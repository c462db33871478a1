"""Words of alarms and points for templates."""

from __future__ import annotations

from typing import Any

from django import template
from django.utils.safestring import SafeString
from django.utils.translation import get_language

from zhenan.domains.monitoring import command_words, frames
from zhenan.domains.monitoring.commands import command_word
from zhenan.domains.monitoring.lists import STATE_COLOURS
from zhenan.domains.monitoring.lists import rule_name as name_of
from zhenan.domains.monitoring.models import Alarm, DeviceCommand, Point
from zhenan.packkit.registry import registry

register = template.Library()


@register.inclusion_tag("monitoring/_state.html")
def alarm_state(alarm: Alarm) -> dict[str, str]:
    """Badge of an alarm's state."""
    return {"text": str(alarm.get_state_display()), "colour": STATE_COLOURS[alarm.state]}


@register.simple_tag
def rule_name(alarm: Alarm) -> str:
    return name_of(alarm)


@register.simple_tag
def command_name(command: DeviceCommand) -> str:
    """The command in the reader's language."""
    return command_word(command, get_language() or "zh-hans")


STATES = {"waiting": "grey", "sent": "blue", "accepted": "blue", "confirmed": "green"}


@register.inclusion_tag("monitoring/_state.html")
def command_state(command: DeviceCommand) -> dict[str, str]:
    """Badge of a command's state."""
    return {"text": str(command.get_state_display()), "colour": STATES.get(command.state, "red")}


@register.simple_tag
def error_word(code: str) -> str:
    """What went wrong, in words."""
    return str(command_words.error_word(code))


@register.filter
def lines_of(decoded: Any) -> list[tuple[str, str]]:
    """What a frame or an answer says, as (path, value)."""
    return frames.lines_of(decoded)


@register.simple_tag
def measure(point: Point) -> str | SafeString:
    return registry().label(point.measure, kind="measures")
