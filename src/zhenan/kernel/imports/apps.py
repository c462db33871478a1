"""Django's entry for imports."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ImportsConfig(AppConfig):
    name = "zhenan.kernel.imports"
    label = "imports"

    def ready(self) -> None:
        from zhenan.kernel import slots
        from zhenan.kernel.events import kinds

        kinds.register(
            "import.done", _("Imported {file}: {created} new, {updated} changed, {refused} refused"), icon="file-import"
        )
        slots.nav.register(
            slots.NavItem(
                "imports",
                _("Imports"),
                "imports:list",
                _("Register"),
                icon="file-import",
                capability="subject.import",
                order=290,
            )
        )
