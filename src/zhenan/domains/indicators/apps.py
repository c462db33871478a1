"""Django's entry for indicators: navigation and the board's headline figures."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class IndicatorsConfig(AppConfig):
    name = "zhenan.domains.indicators"
    label = "indicators"
    verbose_name = _("Indicators")

    def ready(self) -> None:
        from zhenan.domains.indicators.board import headlines
        from zhenan.kernel import slots

        slots.nav.register(
            slots.NavItem(
                "indicators", _("Indicators"), "indicators:list", _("Accounting"), "chart-bar", "indicator.view", 60
            )
        )
        slots.board.register(
            slots.BoardTile("indicators", _("Indicators"), headlines, capability="indicator.view", order=50)
        )
