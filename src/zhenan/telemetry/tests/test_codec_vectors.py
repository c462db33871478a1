"""Frames gathered from the field and from other implementations, kept outside the repository."""

import json
import os
from pathlib import Path

import pytest

from zhenan.telemetry.codecs.lines import PROTOCOLS, decode_line

SHARED = Path(os.environ.get("ZHENAN_SHARED") or Path(__file__).resolve().parents[5] / "shared") / "vectors"


def _vectors() -> list:
    found = []
    for protocol in PROTOCOLS:
        path = SHARED / f"{protocol}.jsonl"
        lines = path.read_text("utf-8").splitlines() if path.exists() else []
        found += [pytest.param(protocol, line, id=f"{protocol}-{i}") for i, line in enumerate(lines, 1)]
    return found or [pytest.param("", "", marks=pytest.mark.skip(f"no test vectors in {SHARED}: set ZHENAN_SHARED"))]


@pytest.mark.parametrize(("protocol", "line"), _vectors())
def test_a_gathered_frame_decodes_as_expected(protocol, line):
    vector = json.loads(line)
    found = decode_line(protocol, line)
    if vector["expect"]["ok"]:
        assert found == vector["expect"]
    else:
        assert found["ok"] is False
        assert found["error"]
