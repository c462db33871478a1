"""The 2,249 enterprises of Zhenjiang's company register, where the shared data is at hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from django.utils import timezone

from zhenan.domains.register.enterprise import TYPE
from zhenan.domains.register.models import Subject
from zhenan.kernel.imports.services import import_path
from zhenan.kernel.imports.specs import spec_of

ROOT = Path(__file__).resolve().parents[5]
SHARED = Path(os.environ.get("ZHENAN_SHARED") or ROOT.parent / "shared")
FILE = SHARED / "data" / "registry" / "zhenjiang_enterprises.csv"
ROWS = 2249

pytestmark = pytest.mark.skipif(not FILE.is_file(), reason=f"no shared data at {FILE}; set ZHENAN_SHARED")


@pytest.fixture
def imported(city):
    return import_path(FILE, spec_of("enterprise"), actor=None, at=timezone.now())


def test_every_row_of_the_real_register_gets_a_verdict_and_every_refusal_a_reason(imported):
    counts = imported.counts
    assert counts["rows"] == ROWS
    assert counts["created"] + counts["updated"] + counts["unchanged"] + counts["refused"] == ROWS
    assert Subject.objects.of_type(TYPE).count() == counts["created"]
    assert all(row.messages for row in imported.judged_rows.filter(verdict="refuse"))
    assert not Subject.objects.of_type(TYPE).filter(division__level="province").exists()


def test_importing_the_same_file_again_changes_nothing(imported):
    again = import_path(FILE, spec_of("enterprise"), actor=None, at=timezone.now())
    assert again.counts["created"] == again.counts["updated"] == 0
    assert again.counts["refused"] == imported.counts["refused"]
    assert again.counts["unchanged"] == imported.counts["created"]


def test_the_district_follows_the_credit_code_of_almost_every_row(imported):
    authority = dict(Subject.objects.of_type(TYPE).values_list("key", "division__path"))
    county = {"321181": "321181", "321182": "321182", "321183": "321183", "321112": "321112", "321111": "321111"}
    for key, path in authority.items():
        if key[2:8] in county:
            assert f"/{county[key[2:8]]}/" in path
