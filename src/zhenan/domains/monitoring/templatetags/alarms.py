"""Words of alarms and points for templates."""

from __future__ import annotations

from django import template
from django.utils.safestring import SafeString
from django.utils.translation import get_language

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


@register.simple_tag
def measure(point: Point) -> str | SafeString:
    return registry().label(point.measure, kind="measures")
