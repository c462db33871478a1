"""What the rooms bring along: modules of the platform's apps, found by name and listed nowhere."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from importlib.util import find_spec
from types import ModuleType

from django.apps import AppConfig, apps


def rooms() -> Iterator[AppConfig]:
    """The platform's own apps, in the order of the settings."""
    return (config for config in apps.get_app_configs() if config.name.startswith("zhenan."))


def modules(name: str) -> Iterator[tuple[AppConfig, ModuleType]]:
    """Each room that has the module ``name`` (urls, api, tasks), with the module. A fault inside it is raised."""
    for config in rooms():
        full = f"{config.name}.{name}"
        if find_spec(full) is not None:
            yield config, importlib.import_module(full)
