"""Devices, their points, alarms with what was done about them, and keys of those who send over HTTP."""

from zhenan.domains.monitoring.models.alarms import Alarm, AlarmQuerySet
from zhenan.domains.monitoring.models.commands import DeviceCommand
from zhenan.domains.monitoring.models.devices import Device, DeviceQuerySet, Point, QuarantinedFrame
from zhenan.domains.monitoring.models.keys import ApiKey, ApiKeyQuerySet

__all__ = [
    "Alarm",
    "AlarmQuerySet",
    "ApiKey",
    "ApiKeyQuerySet",
    "Device",
    "DeviceCommand",
    "DeviceQuerySet",
    "Point",
    "QuarantinedFrame",
]
