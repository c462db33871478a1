"""Devices, their points, alarms with what was done about them, maintenance, and keys of those who send over HTTP."""

from zhenan.domains.monitoring.models.alarms import Alarm, AlarmQuerySet, AlarmStage, StormSummary
from zhenan.domains.monitoring.models.commands import DeviceCommand
from zhenan.domains.monitoring.models.devices import Device, DeviceQuerySet, Point, QuarantinedFrame, UnknownDevice
from zhenan.domains.monitoring.models.keys import ApiKey, ApiKeyQuerySet
from zhenan.domains.monitoring.models.maintenance import HeldAlarm, Maintenance

__all__ = [
    "Alarm", "AlarmQuerySet", "AlarmStage", "ApiKey", "ApiKeyQuerySet", "Device", "DeviceCommand", "DeviceQuerySet",
    "HeldAlarm", "Maintenance", "Point", "QuarantinedFrame", "StormSummary", "UnknownDevice",
]  # fmt: skip
