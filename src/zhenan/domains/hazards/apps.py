"""Django's entry for the room."""

from django.apps import AppConfig


class HazardsConfig(AppConfig):
    name = "zhenan.domains.hazards"
    label = "hazards"
