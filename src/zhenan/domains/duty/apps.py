"""Django's entry for the room."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class DutyConfig(AppConfig):
    name = "zhenan.domains.duty"
    label = "duty"
    verbose_name = _("Responsibility")

    def ready(self) -> None:
        from zhenan.domains.duty import ladder, shown

        ladder.register()
        shown.register()
