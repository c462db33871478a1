"""Hazards and what is recorded on their way to closure."""

from zhenan.domains.hazards.models.hazard import Hazard, HazardQuerySet
from zhenan.domains.hazards.models.records import Extension, Finding, Review, Round, Supervision, Suspension, Transfer

__all__ = [
    "Extension",
    "Finding",
    "Hazard",
    "HazardQuerySet",
    "Review",
    "Round",
    "Supervision",
    "Suspension",
    "Transfer",
]
