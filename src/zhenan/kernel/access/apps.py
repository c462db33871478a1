"""Django's entry for access scopes."""

from django.apps import AppConfig


class AccessConfig(AppConfig):
    name = "zhenan.kernel.access"
    label = "access"
