"""Django's entry for transport: what it puts into the slots, its event kinds."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class TransportConfig(AppConfig):
    name = "zhenan.domains.transport"
    label = "transport"
    verbose_name = _("Transport")

    def ready(self) -> None:
        from zhenan.domains.transport import entries

        entries.register()
