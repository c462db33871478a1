"""Django's entry for the room."""

from django.apps import AppConfig


class MonitoringConfig(AppConfig):
    name = "zhenan.domains.monitoring"
    label = "monitoring"
