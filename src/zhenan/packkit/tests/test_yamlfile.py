"""A pack's YAML is read safely: hostile and broken files are refused with their line."""

import pytest

from zhenan.packkit import yamlfile
from zhenan.packkit.yamlfile import YamlFault, read_yaml


def read(tmp_path, text):
    path = tmp_path / "file.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_yaml(path)


BOMB = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [{','.join(['*' + a] * 6)}]\n" for a, b in zip("abcdefg", "bcdefgh", strict=True)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [1, 2\nb: 3\n", "file.yaml:2: not YAML"),
        ("a: 1\n\tb: 2\n", "file.yaml:2"),
        ("a: !!python/object/apply:os.system [ls]\n", "file.yaml:1"),
        ("a: !x 1\n", "tag '!x' is not allowed"),
        ("<<: {a: 1}\n", "a key must be plain text"),
        ("? [1, 2]\n: 3\n", "a key must be plain text"),
        ("[" * 200 + "]" * 200, "nested more than"),
        (BOMB, "grows past"),
        ("a: &a {b: *a}\n", "refers to itself"),
        ("".join(f"k{i}: &k{i} {i}\nl{i}: *k{i}\n" for i in range(60)), "more than 50 aliases"),
        (b"a: \xff\xfe\n", "is not UTF-8"),
        ("a: " + "x" * yamlfile.MAX_BYTES, "bytes; a pack's file may have"),
        ("a: 1\x00\n", "not YAML"),
        ("--- 1\n--- 2\n", "not YAML"),
    ],
)
def test_a_file_that_cannot_be_used_says_why_and_where(tmp_path, text, said):
    with pytest.raises(YamlFault) as caught:
        read(tmp_path, text)
    assert said in str(caught.value)


def test_duplicate_keys_are_all_reported_and_the_first_is_kept(tmp_path):
    document = read(tmp_path, "a: 1\nb: {c: 1, c: 2}\na: 3\n")
    assert document.data == {"a": 1, "b": {"c": 1}}
    assert [str(f) for f in document.faults] == [
        "file.yaml:2: b.c: given twice; the first is on line 2",
        "file.yaml:3: a: given twice; the first is on line 1",
    ]


def test_words_stay_words(tmp_path):
    text = "a: no\nb: on\nc: 12:30\nd: 2023-01-31\ne: 0o17\nf: 1e3\ng: '5'\nh: ~\ni: true\nj: -0.5\nk: .inf\nl: 007\n"
    assert read(tmp_path, text).data == {
        "a": "no", "b": "on", "c": "12:30", "d": "2023-01-31", "e": "0o17", "f": 1000.0, "g": "5", "h": None,
        "i": True, "j": -0.5, "k": ".inf", "l": "007",
    }  # fmt: skip


def test_a_byte_order_mark_and_an_empty_file_are_no_faults(tmp_path):
    assert read(tmp_path, "\ufeffa: 1\n").data == {"a": 1}
    assert read(tmp_path, "# nothing\n").data == {}


def test_the_line_of_a_key_is_known(tmp_path):
    document = read(tmp_path, "rules:\n  - id: x\n    level:\n      3\n")
    assert document.line(("rules", 0, "level")) == 3
    assert document.key(("rules", 0, "level")) == "rules.x.level"
    assert document.line(("rules", 0, "none")) == 2
