"""Django's entry for imports."""

from django.apps import AppConfig


class ImportsConfig(AppConfig):
    name = "zhenan.kernel.imports"
    label = "imports"
