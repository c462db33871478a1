"""Django's entry for the room."""

from django.apps import AppConfig


class RegisterConfig(AppConfig):
    name = "zhenan.domains.register"
    label = "register"
