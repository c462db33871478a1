"""Django's entry for the room."""

from django.apps import AppConfig


class RegisterConfig(AppConfig):
    name = "zhenan.domains.register"
    label = "register"

    def ready(self) -> None:
        from zhenan.domains.register import importing, shown
        from zhenan.kernel.evidence.services import viewers
        from zhenan.kernel.imports import specs

        shown.register()
        specs.register(importing.specs)
        viewers["register.subject"] = shown.may_see
