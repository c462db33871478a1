"""Rows of text files: whatever bytes come, no row is lost and nothing raises."""

from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zhenan.kernel.imports.faults import FileFault
from zhenan.kernel.imports.reading import open_source
from zhenan.kernel.imports.records import ROW_BYTES, physical_lines, raw_records

KNOWN = {"name", "code", "名称"}


def rows_of(data: bytes) -> list[list[str] | None]:
    return [record.cells for record in open_source(io.BytesIO(data), KNOWN).records() if not record.blank]


def faults_of(data: bytes) -> list[str]:
    return [record.fault for record in open_source(io.BytesIO(data), KNOWN).records() if record.fault]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_usual_encoding_delimiter_and_line_end_gives_the_same_rows(encoding, delimiter, end):
    text = end.join(delimiter.join(row) for row in (["名称", "code"], ["镇江恒顺醋业", "1"], ["丹阳眼镜厂", "2"]))
    assert rows_of(text.encode(encoding)) == [["镇江恒顺醋业", "1"], ["丹阳眼镜厂", "2"]]


def test_a_quoted_cell_holds_delimiters_quotes_and_line_ends():
    data = b'name,code\n"a, ""b""\nc",1\nd,2\n'
    assert rows_of(data) == [['a, "b"\nc', "1"], ["d", "2"]]


def test_a_quote_never_closed_costs_its_own_row_alone():
    data = b'name,code\na,1\n"b,2\nc,3\nd,"4"\n'
    assert rows_of(data) == [["a", "1"], None, ["c", "3"], ["d", "4"]]
    assert "never closed" in faults_of(data)[0]


def test_a_quote_inside_a_cell_is_a_quote():
    assert rows_of(b'name,code\n5" pipe,1\n6" pipe,2\n') == [['5" pipe', "1"], ['6" pipe', "2"]]


def test_a_row_in_another_encoding_is_refused_with_its_line_and_bytes_and_the_rest_survives():
    odd = "镇江市另一家企业有限公司,2".encode("gb18030")
    data = "名称,code\n镇江恒顺醋业,1\n".encode() + odd + "\n丹阳眼镜厂,3\n".encode()
    records = list(open_source(io.BytesIO(data), KNOWN).records())
    assert [r.cells for r in records] == [["镇江恒顺醋业", "1"], None, ["丹阳眼镜厂", "3"]]
    assert (records[1].line, records[1].raw) == (3, odd)
    assert "GB18030" in records[1].fault
    assert "镇江市另一家" in records[1].fault


def test_a_utf8_row_in_a_gb18030_file_is_refused_not_misread():
    lines = [f"句容市第{n}粮站,{n}".encode("gb18030") for n in range(5)]
    odd = "扬中市绿色食品公司,9".encode()
    data = b"\n".join(["名称,code".encode("gb18030"), *lines, odd])
    rows = rows_of(data)
    assert rows[:2] == [["句容市第0粮站", "0"], ["句容市第1粮站", "1"]]
    assert rows[5] is None


def test_a_nul_byte_and_ragged_rows_are_refused_each_with_its_reason():
    data = b"name,code\na\x00b,1\nonly\nx,y,z\nok,1\nok2,2,\n"
    assert rows_of(data) == [None, None, None, ["ok", "1"], ["ok2", "2"]]
    nul, short, long = faults_of(data)
    assert "NUL" in nul
    assert "1 cells" in short
    assert "3 cells" in long


def test_a_cell_of_many_megabytes_is_refused_in_bounded_memory_and_the_next_row_read(tmp_path):
    path = tmp_path / "big.csv"
    with path.open("wb") as file:
        file.write(b"name,code\na,1\n")
        for _piece in range(100):
            file.write(b"x" * 1_000_000)
        file.write(b",2\nb,3\n")
    with path.open("rb") as file:
        records = list(open_source(file, KNOWN).records())
    assert [r.cells for r in records] == [["a", "1"], None, ["b", "3"]]
    assert "longer than" in records[1].fault
    assert len(records[1].raw) < ROW_BYTES


def test_the_header_may_stand_below_a_title_and_have_empty_cells_behind_it():
    data = "镇江市企业名单,,,\n,,,\n名称,code,,\n甲厂,1,,\n".encode()
    source = open_source(io.BytesIO(data), KNOWN)
    assert (source.header, source.header_line) == (["名称", "code"], 3)
    assert [r.cells for r in source.records()] == [["甲厂", "1"]]


def test_an_empty_file_says_so():
    with pytest.raises(FileFault, match="empty"):
        open_source(io.BytesIO(b""), KNOWN)


@given(st.binary(max_size=3000), st.sampled_from([b",", b";", b"\t"]), st.integers(0, 4))
@settings(max_examples=300, deadline=None)
def test_no_line_of_any_bytes_is_lost(data, delimiter, width):
    lines = list(physical_lines(io.BytesIO(data)))
    records = list(raw_records(io.BytesIO(data), delimiter, width))
    assert b"\n".join(r.data for r in records) == b"\n".join(line.data for line in lines)
    assert [r.line for r in records] == sorted({r.line for r in records})


CELLS = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=12)


@given(
    st.binary(max_size=2000)
    | st.lists(st.lists(CELLS, max_size=4), max_size=12).map(
        lambda rows: "\n".join(",".join(row) for row in rows).encode()
    )
)
@settings(max_examples=300, deadline=None)
def test_any_file_either_says_why_it_cannot_be_read_or_gives_every_row(data):
    try:
        source = open_source(io.BytesIO(b"name,code\n" + data), KNOWN)
    except FileFault as err:
        assert str(err)  # noqa: PT017 - either is right
        return
    records = list(source.records())
    assert all((record.cells is None) == bool(record.fault) for record in records)
    assert all(record.cells is None or record.blank or len(record.cells) == len(source.header) for record in records)


@given(st.binary(max_size=400))
@settings(max_examples=150, deadline=None)
def test_damaged_workbooks_are_refused_in_words(tail):
    for head in (b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"):
        with pytest.raises(FileFault, match=r"damaged|nothing|no row"):
            open_source(io.BytesIO(head + tail), KNOWN)
