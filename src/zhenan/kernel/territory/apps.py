"""Django's entry for the division tree."""

from django.apps import AppConfig


class TerritoryConfig(AppConfig):
    name = "zhenan.kernel.territory"
    label = "territory"
