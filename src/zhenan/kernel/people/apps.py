"""Django's entry for organisations, people and posts."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class PeopleConfig(AppConfig):
    name = "zhenan.kernel.people"
    label = "people"
    verbose_name = _("People")
