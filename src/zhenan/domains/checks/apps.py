"""Django's entry for inspections: event kinds, navigation, panel, today, evidence."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ChecksConfig(AppConfig):
    name = "zhenan.domains.checks"
    label = "checks"
    verbose_name = _("Inspections")

    def ready(self) -> None:
        from zhenan.domains.checks import entries

        entries.register()
