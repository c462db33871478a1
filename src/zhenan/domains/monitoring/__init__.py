"""Devices, points, alarms and their handling."""
