"""Django's entry for the room."""

from django.apps import AppConfig


class ChecksConfig(AppConfig):
    name = "zhenan.domains.checks"
    label = "checks"
