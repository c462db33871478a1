"""Django's entry for the room."""

from django.apps import AppConfig


class IndicatorsConfig(AppConfig):
    name = "zhenan.domains.indicators"
    label = "indicators"
