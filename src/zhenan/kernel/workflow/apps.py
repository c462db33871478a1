"""Django's entry for deadlines."""

from django.apps import AppConfig


class WorkflowConfig(AppConfig):
    name = "zhenan.kernel.workflow"
    label = "workflow"
