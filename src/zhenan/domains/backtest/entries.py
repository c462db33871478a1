"""The entries of back-tests: the menu, and links from what can be tried to trying it."""

from __future__ import annotations

from urllib.parse import urlencode

from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from zhenan.domains.backtest.fences import FENCE
from zhenan.domains.backtest.rules import family_of
from zhenan.domains.monitoring.models import Alarm
from zhenan.domains.monitoring.queries import rule_of
from zhenan.domains.transport.models import Fence
from zhenan.domains.transport.queries import fence_of_alarm
from zhenan.kernel import slots

CAPABILITY = "rule.test"


def register() -> None:
    item = slots.NavItem("backtests", _("Back-tests"), "backtest:list", _("Watch"), "history", CAPABILITY, 14)
    slots.nav.register(item)
    label = _("Try it on history")
    for target, url in (("fence", of_fence), ("alarm", of_alarm)):
        slots.actions.register(slots.Action(f"backtest.{target}", label, target, url, "history", CAPABILITY))


def of_fence(request: HttpRequest, fence: Fence) -> str:
    return _new(f"{FENCE}{fence.pk}")


def of_alarm(request: HttpRequest, alarm: Alarm) -> str | None:
    """Its rule, the family that the rule is a stage of, or the fence that it was raised at."""
    rule = rule_of(alarm.rule)
    if rule is not None:
        return _new(family_of(rule) or rule.code)
    fence = fence_of_alarm(alarm, request.user)
    return _new(f"{FENCE}{fence.pk}") if fence else None


def _new(code: str) -> str:
    return f"{reverse('backtest:new')}?{urlencode({'rule': code})}"
