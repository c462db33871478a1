"""Django's entry for back-tests."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class BacktestConfig(AppConfig):
    name = "zhenan.domains.backtest"
    label = "backtest"
    verbose_name = _("Back-tests")

    def ready(self) -> None:
        from zhenan.domains.backtest import entries

        entries.register()
