from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class PackkitConfig(AppConfig):
    name = "zhenan.packkit"
    label = "packkit"
    verbose_name = _("Programme packs")
