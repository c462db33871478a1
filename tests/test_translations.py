"""Every string of the product is there in Chinese, and every translation keeps the values it is given."""

from __future__ import annotations

import pytest
from tests.support import translations

ROOMS = sorted({m.where.split("/")[0] for m in translations.messages()})


@pytest.mark.parametrize("floor", ROOMS)
def test_every_string_has_its_chinese(floor):
    missing = [f"{m.where}: {m.singular!r}" for m in translations.missing() if m.where.split("/")[0] == floor]
    assert missing == [], f"{len(missing)} strings without Chinese"


def test_every_translation_keeps_the_placeholders_of_its_string():
    assert translations.broken() == []


def test_the_reader_sees_strings_in_code_and_in_templates():
    found = {m.key: m for m in translations.messages()}
    assert ("", "Clear filters") in found
    assert found[("", "%(n)s day")].plural == "%(n)s days"
    assert ("level", "Level 1") in found
    assert ("", "This list cannot be sorted by “%(came)s”.") in found
