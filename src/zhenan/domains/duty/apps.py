"""Django's entry for the room."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class DutyConfig(AppConfig):
    name = "zhenan.domains.duty"
    label = "duty"
    verbose_name = _("Responsibility")

    def ready(self) -> None:
        from zhenan.domains.duty import importing, ladder, shown
        from zhenan.kernel.imports import specs

        ladder.register()
        shown.register()
        specs.register(importing.specs)
