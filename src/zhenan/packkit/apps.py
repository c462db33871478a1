from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _

from zhenan.kernel.events import kinds


class PackkitConfig(AppConfig):
    name = "zhenan.packkit"
    label = "packkit"
    verbose_name = _("Programme packs")

    def ready(self) -> None:
        kinds.register("pack.overridden", _("{code} changed by the city"), icon="adjustments", topic="pack")
