"""`zhenan packs`: what it prints and its exit status."""

import pytest

from zhenan.packkit.commands import main


def test_a_new_pack_passes_the_check(tmp_path, capsys):
    assert main(["new", "my_pack", str(tmp_path)]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "my_pack")
    assert main(["check", str(tmp_path)]) == 0
    assert "my_pack: sound" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["My-Pack", "1st", "", "a b", "../x", "x" * 49])
def test_a_bad_name_is_refused(tmp_path, capsys, name):
    assert main(["new", name, str(tmp_path)]) == 2
    assert "want lower-case letters" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(pack, capsys):
    assert main(["new", pack.name, str(pack.parent)]) == 2
    assert "is already there" in capsys.readouterr().err


def test_a_faulty_pack_fails_the_check(pack, spoil, capsys):
    spoil("alarms.yaml", "level: 3", "level: 8")
    assert main(["check", str(pack)]) == 1
    assert "cold_stores/alarms.yaml:5: rules.too_warm.level" in capsys.readouterr().out


def test_a_scenario_that_does_not_hold_fails_the_check_unless_only_files_are_asked(pack, spoil, capsys):
    spoil("scenarios/first.yaml", "at_s: 900", "at_s: 600")
    assert main(["check", str(pack)]) == 1
    out = capsys.readouterr().out
    assert "did not come: cold_stores.too_warm raise at 600 s" in out
    assert "came, but is not expected: cold_stores.too_warm raise at 900 s" in out
    assert main(["check", "--files-only", str(pack)]) == 0


def test_a_simulation_that_breaks_is_a_fault_of_the_pack(pack, spoil, capsys):
    spoil("simulate.py", '"kind": "freezer" if', '"kind": "oven" if')
    assert main(["check", str(pack)]) == 1
    assert "population: cold_stores-00000: kind: 'oven' is not one of the choices" in capsys.readouterr().out
    spoil("simulate.py", "number = 0", "number = 1 // 0")
    assert main(["check", str(pack)]) == 1


def test_a_folder_without_packs_fails(tmp_path, capsys):
    assert main(["check", str(tmp_path / "none")]) == 1
    assert "no such folder" in capsys.readouterr().out


def test_list_names_the_packs(capsys):
    assert main(["list"]) == 0
    out = capsys.readouterr().out
    assert "catering_gas" in out
    assert "smart_fire" in out


def test_wrong_use_is_status_2(capsys):
    assert main(["bogus"]) == 2
