"""Inspections from checklists."""
