"""Devices, their points, and alarms with what was done about them."""

from zhenan.domains.monitoring.models.alarms import Alarm, AlarmQuerySet
from zhenan.domains.monitoring.models.commands import DeviceCommand
from zhenan.domains.monitoring.models.devices import Device, DeviceQuerySet, Point, QuarantinedFrame, UnknownDevice

__all__ = [
    "Alarm",
    "AlarmQuerySet",
    "Device",
    "DeviceCommand",
    "DeviceQuerySet",
    "Point",
    "QuarantinedFrame",
    "UnknownDevice",
]
