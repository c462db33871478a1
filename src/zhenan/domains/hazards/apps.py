"""Django's entry for the room."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class HazardsConfig(AppConfig):
    name = "zhenan.domains.hazards"
    label = "hazards"
    verbose_name = _("Hazards")

    def ready(self) -> None:
        from zhenan.domains.duty.services import HANDOVERS
        from zhenan.domains.hazards import ladder, shown
        from zhenan.domains.hazards.services import reown

        HANDOVERS["hazards"] = reown
        ladder.register()
        shown.register()
