"""Django's entry for monitoring: what it puts into the slots, its event kinds, its ladder."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class MonitoringConfig(AppConfig):
    name = "zhenan.domains.monitoring"
    label = "monitoring"
    verbose_name = _("Monitoring")

    def ready(self) -> None:
        from zhenan.domains.monitoring import entries

        entries.register()
