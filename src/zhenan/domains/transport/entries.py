"""Transport's entries: event kinds, navigation, the map's layer of vehicles."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from zhenan.domains.transport import queries
from zhenan.kernel import slots
from zhenan.kernel.events import kinds

SECTION = _("Watch")


def register() -> None:
    kinds.register("fence.made", _("Fence {name} made"), icon="polygon")
    kinds.register("fence.changed", _("Fence {name} changed: version {version}"), icon="polygon")
    kinds.register("fence.ended", _("Fence {name} ended"), icon="polygon")
    entry = slots.NavItem
    slots.nav.register(entry("vehicles", _("Vehicles"), "transport:vehicles", SECTION, "truck", "alarm.view", 20))
    slots.nav.register(
        entry("vehicle_map", _("Vehicles on the map"), "transport:map", SECTION, "map-2", "alarm.view", 21)
    )
    slots.nav.register(entry("fences", _("Fences"), "transport:fences", SECTION, "polygon", "alarm.view", 22))
    slots.nav.register(
        entry("fence_events", _("Fence events"), "transport:events", SECTION, "arrows-cross", "alarm.view", 23)
    )
    slots.warmers.register(slots.Warmer("tracks", queries.warm_up))
    slots.map_layers.register(
        slots.MapLayer("vehicles", _("Vehicles"), queries.live, "alarm.view", "#0ca678", live_topic="", order=40)
    )
