"""Django's entry for the pages' shell, and the shell's own menu entries."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _

from zhenan.kernel import slots


class WebConfig(AppConfig):
    name = "zhenan.web"
    label = "web"

    def ready(self) -> None:
        from zhenan.kernel.events import kinds

        for code, text, icon in (
            ("people.person_created", _("Account of {name} created"), "user-plus"),
            ("people.person_activated", _("Account of {name} activated"), "user-check"),
            ("people.person_deactivated", _("Account of {name} deactivated"), "user-off"),
            ("people.password_reset", _("New first password for {name}"), "key"),
            ("people.organisation_created", _("Organisation {name} created"), "building-plus"),
            ("people.post_begun", _("{name} takes up the post of {role} at {organisation}"), "id-badge-2"),
            ("people.post_ended", _("{name} leaves the post of {role} at {organisation}"), "id-badge-off"),
        ):
            kinds.register(code, text, icon=icon)
        work, system = _("Work"), _("System")
        for item in (
            slots.NavItem("today", _("Today"), "web:today", work, icon="checklist", order=1),
            slots.NavItem("map", _("Map"), "web:map", work, icon="map-2", capability="subject.view", order=2),
            slots.NavItem("board", _("Board"), "web:board", work, icon="layout-dashboard", order=3),
            slots.NavItem(
                "organisations",
                _("Organisations"),
                "web:organisations",
                system,
                icon="building-community",
                capability="people.view",
                order=900,
            ),
            slots.NavItem(
                "people", _("People"), "web:people", system, icon="users", capability="people.view", order=901
            ),
        ):
            slots.nav.register(item)
