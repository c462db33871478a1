"""Django's entry for the room."""

from django.apps import AppConfig


class DutyConfig(AppConfig):
    name = "zhenan.domains.duty"
    label = "duty"
