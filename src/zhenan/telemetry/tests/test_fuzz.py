"""The fuzzer, for seconds; and that it finds what is broken."""

import io

import pytest

from zhenan.telemetry.codecs import gb26875_units
from zhenan.telemetry.tests import fuzz


def test_nothing_is_found_in_a_few_seconds():
    out = io.StringIO()
    tried, findings = fuzz.run(4, seed=20260302, out=out, note_s=1)
    assert findings == 0, out.getvalue()
    assert "s of CPU: gb26875" in out.getvalue()  # a run of an hour can be looked at
    for protocol in ("gb26875", "jt808", "hj212"):
        assert tried[f"{protocol} good"] > tried[protocol] / 4  # half of them are mended: the bodies are reached


@pytest.mark.parametrize("fault", [ValueError("a month of 13"), IndexError("short")])
def test_a_fault_behind_a_good_frame_is_found(monkeypatch, fault):
    def broken(unit, at):
        raise fault

    monkeypatch.setitem(gb26875_units._TYPES, 24, gb26875_units._TYPES[24]._replace(read=broken))
    _, findings = fuzz.run(3, seed=1, out=io.StringIO())
    assert findings
