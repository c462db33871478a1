"""Devices, their points, alarms with what was done about them, and maintenance."""

from zhenan.domains.monitoring.models.alarms import Alarm, AlarmQuerySet, AlarmStage, StormSummary
from zhenan.domains.monitoring.models.commands import DeviceCommand
from zhenan.domains.monitoring.models.devices import Device, DeviceQuerySet, Point, QuarantinedFrame
from zhenan.domains.monitoring.models.maintenance import HeldAlarm, Maintenance

__all__ = [
    "Alarm", "AlarmQuerySet", "AlarmStage", "Device", "DeviceCommand", "DeviceQuerySet", "HeldAlarm", "Maintenance",
    "Point", "QuarantinedFrame", "StormSummary",
]  # fmt: skip
