"""Django's entry for evidence."""

from django.apps import AppConfig


class EvidenceConfig(AppConfig):
    name = "zhenan.kernel.evidence"
    label = "evidence"
