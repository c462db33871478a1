"""Django's entry for events."""

from django.apps import AppConfig


class EventsConfig(AppConfig):
    name = "zhenan.kernel.events"
    label = "events"
