"""`zhenan judge` over files: the alarms, the summary, and every sort of bad input."""

import io
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zhenan.telemetry.judge import readings_csv
from zhenan.telemetry.judge.cli import main
from zhenan.telemetry.judge.files import judge_file
from zhenan.telemetry.judge.readings_csv import InputFault, _Reader, read_blocks
from zhenan.telemetry.judge.rulefile import RulesFault

RULES = """rules:
  - {id: gas, kind: threshold, above: 25, clear: 20, level: 2}
  - {id: quiet, kind: silence, after_s: 10, level: 4}
"""
FINE = ["--rules", "rules.yaml", "--input", "in.csv", "--out", "out.csv"]


@pytest.fixture
def judged(tmp_path):
    """Judge a file of these bytes: (alarm rows without the header, summary, what was told)."""

    def run(data, until=None, rules=RULES):
        (tmp_path / "rules.yaml").write_text(rules, encoding="utf-8")
        (tmp_path / "in.csv").write_bytes(data if isinstance(data, bytes) else data.encode())
        told = io.StringIO()
        summary = judge_file(tmp_path / "rules.yaml", tmp_path / "in.csv", tmp_path / "out.csv", until, told)
        header, *rows = (tmp_path / "out.csv").read_text("utf-8").splitlines()
        assert header == "point,rule,kind,ts,onset,value,level"
        return rows, summary, told.getvalue()

    return run


def rows_of(data, tmp_path):
    (tmp_path / "rows.csv").write_bytes(data)
    found = []
    for block in read_blocks(tmp_path / "rows.csv"):
        columns = (block.code.tolist(), block.ts.tolist(), block.value.tolist(), block.quality.tolist())
        found += [(block.names[code], *rest) for code, *rest in zip(*columns, strict=True)]
    return found


def test_alarms_are_written_in_order_of_time_point_rule_and_kind(judged):
    rows, summary, _ = judged(
        "point,ts,value,quality\nb,0,25.5,good\na,0,26,\nb,1000,19.9,0\nb,2000,9,bad\nb,2000,9,1\nb,1000,9,0\nb,20000,nan,0\n"
    )
    assert rows == [
        "a,gas,raise,0,0,26,2",
        "b,gas,raise,0,0,25.5,2",
        "b,gas,clear,1000,0,19.9,2",
        "a,quiet,raise,10000,10000,,4",
        "b,quiet,raise,12000,12000,,4",
        "b,quiet,clear,20000,12000,nan,4",
    ]
    assert summary.lines()[:8] == (
        ["readings: 7", "judged: 3", "late: 1", "duplicate: 1", "unfit: 2", "malformed: 0", "raises: 4", "clears: 2"]
    )


def test_a_raise_stands_before_a_clear_of_the_same_instant(judged):
    rows, _, _ = judged("point,ts,value\na,0,30\na,20000,1\n")
    assert rows == [
        "a,gas,raise,0,0,30,2",
        "a,quiet,raise,10000,10000,,4",
        "a,gas,clear,20000,0,1,2",
        "a,quiet,clear,20000,10000,1,4",
    ]


@pytest.mark.parametrize(
    ("until", "raised"), [(None, []), (10_000, []), (10_001, ["a,quiet,raise,10000,10000,,4"]), (-5, [])]
)
def test_silence_at_the_end_is_judged_at_the_largest_ts_or_until(judged, until, raised):
    assert judged("point,ts,value\na,0,1\n", until)[0] == raised


def test_the_largest_ts_of_any_point_is_the_clock_at_the_end(judged):
    assert judged("point,ts,value\na,0,1\nb,10001,1\n")[0] == ["a,quiet,raise,10000,10000,,4"]
    assert judged("point,ts,value\nb,10001,nan\na,0,1\n")[0] == ["a,quiet,raise,10000,10000,,4"]


def test_a_file_by_point_gives_the_alarms_of_the_file_by_time(judged):
    lines = [f"{p},{t},{t % 40}" for p in "ab" for t in (0, 7_000, 21_000, 28_000, 60_000)]
    by_time = sorted(lines, key=lambda line: int(line.split(",")[1]))
    rows = judged("point,ts,value\n" + "\n".join(lines))[0]
    assert rows == judged("point,ts,value\n" + "\n".join(by_time))[0]
    assert sum("quiet,raise" in row for row in rows) == 4


def test_every_malformed_row_is_counted_and_told_with_its_line_and_the_rest_is_judged(judged):
    rows, summary, told = judged(
        b"point,ts,value\na,0,1\n\na,x,1\na,1\na,1,2,3\n,1,2\na,1,\na,1_0,5\na,99999999999999999999,1\na,5,0x10\n"
        b'"a,6,1\na,7,26\nb\xff,8,1\n"a"b,9,1\na,9,--1\n'
    )
    assert rows == ["a,gas,raise,7,7,26,2"]
    assert (summary.readings, summary.malformed) == (2, 12)
    reasons = told.splitlines()[:12]
    assert [line.split(":")[1] for line in reasons] == [
        f" line {n}" for n in (4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 15, 16)
    ]
    for line, why in zip(
        reasons,
        ["ts should be whole milliseconds", "should have 3 fields; got 2", "should have 3 fields; got 4",
         "point is blank", "value should be a number; got ''", "got '1_0'", "years 1 to 9999", "got '0x10'",
         "a quote is opened and not closed", "is not utf-8", "the quotes do not pair", "got '--1'"],
        strict=True,
    ):  # fmt: skip
        assert why in line


def test_only_the_first_malformed_rows_are_told_and_all_are_counted(judged):
    _, summary, told = judged("point,ts,value\n" + "x\n" * 1000 + "a,0,1\n")
    assert (summary.malformed, summary.readings) == (1000, 1)
    assert "line 21:" in told
    assert "line 22:" not in told
    assert "and 980 more malformed rows" in told


@pytest.mark.parametrize(
    "data",
    [
        "point,ts,value\n点一,1,26\n",
        "\ufeffpoint,ts,value\r\n点一,1,26\r\n",
        ' Point , "ts",VALUE\n"点一", 1 ,+26.0',
        "point,ts,value,quality\n点一,1970-01-01T08:00:00.001+08:00,2.6E1\n",
        "point,ts,value\r点一,1,26\r",
        "\npoint".strip() + ",ts,value\n\n\n点一,1,26\n\n",
    ],
)
def test_boms_line_ends_quotes_and_times_of_other_programs_are_read(judged, data):
    assert judged(data)[0] == ["点一,gas,raise,1,1,26,2"]


def test_gb18030_is_read_and_what_is_broken_in_it_is_told(judged):
    data = "point,ts,value\nascii,0,1\n点一,1,26\n储罐㐀,2,27\n".encode("gb18030")
    assert judged(data)[0] == ["点一,gas,raise,1,1,26,2", "储罐㐀,gas,raise,2,2,27,2"]
    rows, summary, told = judged(data + b"\xff\xff,3,28\nz,4,29\n")
    assert (len(rows), summary.malformed) == (3, 1)
    assert "line 5: is not gb18030" in told


def test_one_broken_line_does_not_turn_a_utf_8_file_into_gb18030(judged):
    rows, summary, _ = judged(
        "point,ts,value\n点一,1,26\n".encode() + "储罐,2,26\n".encode("gb18030") + "点二,3,26\n".encode()
    )
    assert rows == ["点一,gas,raise,1,1,26,2", "点二,gas,raise,3,3,26,2"]
    assert summary.malformed == 1


def test_points_with_commas_quotes_and_line_breaks_are_points(judged):
    rows, summary, _ = judged('point,ts,value\n"a,1",0,26\n"say ""no""",1,26\n"two\nlines",2,26\nspace ,3,26\n')
    assert rows == [
        '"a,1",gas,raise,0,0,26,2',
        '"say ""no""",gas,raise,1,1,26,2',
        '"two',
        'lines",gas,raise,2,2,26,2',
        "space ,gas,raise,3,3,26,2",
    ]
    assert summary.malformed == 0


def test_a_header_alone_gives_no_alarms(judged):
    rows, summary, _ = judged("point,ts,value\n")
    assert (rows, summary.readings, summary.per_second) == ([], 0, 0)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("", "is empty; line 1 should be point,ts,value or point,ts,value,quality"),
        ("\n\n", "is empty"),
        ("\na,1,2\n", "line 1 is blank"),
        ("a,1,2\n", "line 1 should be point,ts,value or point,ts,value,quality; got 'a,1,2'"),
        ("ts,point,value\n", "got 'ts,point,value'"),
        ("point;ts;value\n", "got 'point;ts;value'"),
        ("point,ts,value,quality,more\n", "got 'point,ts,value,quality,more'"),
        ("point,ts,value\n".encode("utf-16"), "is UTF-16; should be UTF-8 or GB18030"),
        ("x" * 20_000_000, "line 1 should be point,ts,value"),
    ],
)
def test_a_wrong_header_is_refused_and_nothing_is_written(judged, tmp_path, data, says):
    with pytest.raises(InputFault) as caught:
        judged(data)
    assert says in str(caught.value)
    assert len(str(caught.value)) < 200
    assert [path.name for path in tmp_path.iterdir() if "out" in path.name] == []


def test_a_huge_cell_is_one_malformed_row_and_the_rest_is_judged(judged):
    huge = b"x" * 30_000_000
    rows, summary, told = judged(
        b"point,ts,value\na,0,26\n" + huge + b",1,1\nb,1,26\n" + huge[:2_000_000] + b",2,2\nc,3,26\n"
    )
    assert [row[0] for row in rows] == ["a", "b", "c"]
    assert summary.malformed == 2
    assert "line 3: the line is longer" in told
    assert "line 5: the line is longer" in told


def test_where_the_blocks_are_cut_makes_no_difference(tmp_path, monkeypatch):
    lines = [f'"p{n % 7},x",{n},{n / 4}' if n % 3 else f"p{n},{n},{n}" for n in range(400)]
    lines[100], lines[200], lines[300] = '"two\nlines",100,1', "broken", '"never closed,300,1'
    data = ("point,ts,value\r\n" + "\r\n".join(lines)).encode()
    whole = rows_of(data, tmp_path)
    assert len(whole) == 398
    for size in (40, 97, 1000):
        monkeypatch.setattr(readings_csv, "BLOCK", size)
        assert rows_of(data, tmp_path) == whole


def test_a_plain_block_goes_the_fast_way():
    for rows in (b"a,1,2\n", b'"a,b",-1,nan\n', b"\n a , 1 , 2.5\n"):
        assert _Reader(io.BytesIO(), "x")._fast(rows) is not None
    for rows in (b"a,0x1,2\n", b"a,1\n", b"a,1,2,3\n", b",1,2\n", b"a,1,\n", b"\xff,1,2\n", b"a,1.5,2\n"):
        assert _Reader(io.BytesIO(), "x")._fast(rows) is None


cells = st.one_of(
    st.sampled_from(["a", "点", " ", "", "1", " 7 ", "-3", "+3", "1.5", "1e3", "1E-2", ".5", "5.", "nan", "-inf", "NaN",
                     "null", "NA", "0x10", "1_0", "1e400", "1f", "infinity", "true", "１", "good", "BAD", "2", "x\ty",
                     "00012", "9223372036854775808", "253402300799999", "253402300800000", "2024-01-01",
                     '"a"', '"a,b"', '"1"', 'a"b']),
    st.text(alphabet='ab1.,"-+e \t\x00', max_size=4),
)  # fmt: skip
lines = st.lists(st.lists(cells, min_size=1, max_size=4).map(",".join), min_size=1, max_size=3)


@settings(max_examples=400, deadline=None)
@given(lines, st.sampled_from([3, 4]))
def test_the_fast_way_reads_nothing_otherwise_than_the_careful_way(rows, width):
    data = ("\n".join(rows) + "\n").encode()
    fast, careful = _Reader(io.BytesIO(), "x"), _Reader(io.BytesIO(), "x")
    fast.width = careful.width = width
    quotes_are_plain = len(readings_csv._PLAIN_QUOTES.findall(data)) * 2 == data.count(b'"')
    block = fast._fast(data) if quotes_are_plain else None
    if block is None:
        return
    other = careful._careful(data, True, "utf-8")[0]
    assert other.malformed == []
    assert [block.names[code] for code in block.code] == [other.names[code] for code in other.code]
    assert (block.ts.tolist(), block.quality.tolist()) == (other.ts.tolist(), other.quality.tolist())
    assert block.value.tobytes() == other.value.tobytes() or repr(block.value) == repr(other.value)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (
            ["--rules", "rules.yaml", "--input", "in.csv", "--out", "out.csv", "--until", "1970-01-01T00:00:11Z"],
            0,
            "raises: 2",
        ),
        ([*FINE, "--until", "soon"], 2, "got 'soon'"),
        (
            ["--rules", "none.yaml", "--input", "in.csv", "--out", "out.csv"],
            2,
            "none.yaml: cannot be read: No such file",
        ),
        (["--rules", "rules.yaml", "--input", "none.csv", "--out", "out.csv"], 2, "none.csv: No such file"),
        (
            ["--rules", "rules.yaml", "--input", "rules.yaml", "--out", "out.csv"],
            2,
            "rules.yaml: line 1 should be",
        ),
        (
            ["--rules", "in.csv", "--input", "in.csv", "--out", "out.csv"],
            2,
            "in.csv:1: the file: Input should be a valid dict",
        ),
        (["--rules", "rules.yaml", "--input", "in.csv", "--out", "no/out.csv"], 2, "No such file"),
        (
            ["--rules", "rules.yaml", "--input", "in.csv", "--out", "in.csv"],
            2,
            "in.csv: the alarms would overwrite",
        ),
        (["--rules", "rules.yaml"], 2, "the following arguments are required: --input, --out"),
        (["--help"], 0, ""),
    ],
)
def test_the_command_says_what_is_wrong_and_ends_with_two(tmp_path, monkeypatch, capsys, arguments, code, says):
    monkeypatch.chdir(tmp_path)
    Path("rules.yaml").write_text(RULES, encoding="utf-8")
    Path("in.csv").write_text("point,ts,value\na,0,26\n", encoding="utf-8")
    assert main(arguments) == code
    assert says in capsys.readouterr().err
    assert Path("in.csv").read_text("utf-8") == "point,ts,value\na,0,26\n"
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix == ".part") == []


def test_faulty_rules_are_told_whole(judged):
    with pytest.raises(RulesFault) as caught:
        judged("point,ts,value\n", rules="rules: [{id: a, kind: x, level: 1}, {id: b, kind: y, level: 1}]")
    assert len(caught.value.faults) == 2


def test_values_read_back_as_the_numbers_they_were(judged):
    texts = ["25", "25.1", "0.1", "1e+300", "1e-07", "-0", "123456789012345680", "0.30000000000000004"]
    rules = "rules: [{id: r, kind: threshold, above: -1, level: 1}]"
    rows, _, _ = judged("point,ts,value\n" + "".join(f"p{n},0,{text}\n" for n, text in enumerate(texts)), rules=rules)
    values = [row.split(",")[5] for row in rows]
    assert [float(value) for value in values] == [float(text) for text in texts]
    assert values[:6] == texts[:6]


def test_alarms_can_go_to_a_pipe(tmp_path):
    (tmp_path / "rules.yaml").write_text(RULES, encoding="utf-8")
    (tmp_path / "in.csv").write_text("point,ts,value\na,0,26\n", encoding="utf-8")
    command = "import sys; from zhenan.telemetry.judge.cli import main; sys.exit(main(sys.argv[1:]))"
    options = ["--rules", "rules.yaml", "--input", "in.csv", "--out", "/dev/stdout"]
    environment = {"PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run(
        [sys.executable, "-c", command, *options],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "point,rule,kind,ts,onset,value,level\na,gas,raise,0,0,26,2\n")
