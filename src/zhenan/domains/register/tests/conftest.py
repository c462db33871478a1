"""Subjects of the catering pack, placed here (Situ town in Danyang) and elsewhere (Jurong)."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.conf import settings
from django.utils import translation

from zhenan.domains.register.models import Subject
from zhenan.domains.register.services import create_subject

AT = datetime(2026, 3, 2, 9, tzinfo=UTC)
CATERER = "catering_gas.caterer"
ENTERPRISE = "core_register.enterprise"


@pytest.fixture(autouse=True)
def english(client):
    """Messages in English, whatever translations are compiled."""
    client.cookies[settings.LANGUAGE_COOKIE_NAME] = "en"
    with translation.override("en"):
        yield


@pytest.fixture
def make(personas):
    """make(name, where="here", **fields): a caterer added by the city office."""

    def make_one(name: str, where: str = "here", **fields) -> Subject:
        division = {"here": personas.here, "elsewhere": personas.elsewhere, "grid": personas.grid}[where]
        attributes = {**required(), **fields.pop("attributes", {})}
        return create_subject(
            actor=None, at=AT, type=CATERER, name=name, division=division, attributes=attributes, **fields
        )

    return make_one


def required() -> dict[str, object]:
    """A value for every required field of a caterer."""
    from zhenan.packkit.registry import registry

    values: dict[str, object] = {}
    for field in registry().subject_type(CATERER).fields:
        if field.required:
            sample = {"choice": field.choices[0].code if field.choices else "", "int": 1, "number": 1.0, "bool": True,
                      "date": "2026-01-01", "phone": "0511-88888888", "text": "x"}  # fmt: skip
            values[field.code] = sample[field.type]
    return values
