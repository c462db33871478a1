"""A faulty pack says all its faults at once, each with file, line, key path and the nearest right word."""

import pytest

from zhenan.packkit.contract import contract_faults
from zhenan.packkit.loader import PackFault, discover, load_all, load_pack, problems_in


def test_a_new_pack_meets_the_whole_contract(pack):
    assert contract_faults(pack) == []


def test_codes_are_in_full_after_loading(pack):
    loaded = load_pack(pack)
    assert loaded.subject_types[0].code == "cold_stores.place"
    assert loaded.checklists[0].subject_types == ["cold_stores.place"]
    assert loaded.indicators[1].measure.numerator[0].where[0].value == "cold_stores.thermometer"
    assert loaded.scenarios[0].alarms[0].rule == "cold_stores.too_warm"


FAULTS = [
    (
        "pack.yaml",
        "version: 1 ",
        "verson: 1 ",
        ["pack.yaml:2: version: is missing", "no such key; did you mean 'version'?"],
    ),
    ("pack.yaml", "code: cold_stores", "code: cold_store", ["code: is 'cold_store', but the folder is 'cold_stores'"]),
    ("subjects.yaml", "type: choice", "type: chioce", ["'chioce' is not allowed; did you mean 'choice'?"]),
    ("subjects.yaml", "unit: m2", "unit: m22", ["no unit 'm22' in the vocabulary; did you mean 'm2'?"]),
    (
        "devices.yaml",
        "measure: temperature",
        "measure: temprature",
        ["no measure 'temprature'", "did you mean 'temperature'?"],
    ),
    ("devices.yaml", "unit: degC", "unit: kPa", ["temperature is kept in 'degC', came 'kPa'; 'kPa' measures pressure"]),
    ("devices.yaml", "range: [-60, 100]", "range: [100, -60]", ["range runs from 100.0 to -60.0"]),
    ("alarms.yaml", "kind: threshold", "kind: treshold", ["rules.too_warm.rule", "did you mean 'threshold'?"]),
    ("alarms.yaml", "clear: -5", "clear: 5", ["rules.too_warm.rule", "clear"]),
    ("alarms.yaml", "tell: [enterprise_safety, grid_worker]", "tell: [gird_worker]", ["did you mean 'grid_worker'?"]),
    ("alarms.yaml", "level: 3", "level: 7", ["alarms.yaml:5: rules.too_warm.level: 7 is not allowed"]),
    ("alarms.yaml", "source: local", "source: lokal", ["no source 'lokal' in pack.yaml; did you mean 'local'?"]),
    ("alarms.yaml", "measure: temperature", "measure: humidity", ["no device model of this pack measures humidity"]),
    ("alarms.yaml", "id: offline", "id: too_warm", ["code 'too_warm' is given twice"]),
    (
        "checklists.yaml",
        "subject_types: [place]",
        "subject_types: [plaice]",
        ["no subject type 'plaice'; did you mean 'place'?"],
    ),
    ("checklists.yaml", "article: 第四十二条第二款", 'article: ""', ["items.exits.basis.article"]),
    ("duties.yaml", "level: town", "level: village", ["no contract level 'village'"]),
    ("duties.yaml", "checklist: visit", "checklist: visits", ["no checklist 'visits'; did you mean 'visit'?"]),
    ("indicators.yaml", "field: active", "field: activ", ["subject has no field 'activ'"]),
    ("indicators.yaml", "value: too_warm", "value: to_warm", ["no rule 'to_warm'; did you mean 'too_warm'?"]),
    ("indicators.yaml", "when: raised_at", "when: raised", ["alarm has no time field 'raised'"]),
    ("indicators.yaml", "measure: {kind: count}", "measure: {kind: cuont}", ["kind is 'cuont'; did you mean 'count'?"]),
    ("quality.yaml", "  field_trial: {state: todo, reason: Not tried yet.}\n", "", ["no word on field_trial"]),
    ("quality.yaml", "{state: todo, reason: Set-points are to be decided.}", "{state: todo}", ["says why in reason"]),
    (
        "scenarios/first.yaml",
        "rule: too_warm",
        "rule: too_warn",
        ["no alarm rule 'too_warn'; did you mean 'too_warm'?"],
    ),
    ("scenarios/first.yaml", "0:-18 300:1", "0:-18 300", ["'300' is not second:value"]),
    ("scenarios/first.yaml", "exits: fail", "exit: fail", ["no item 'exit'; did you mean 'exits'?"]),
]


@pytest.mark.parametrize(("file", "old", "new", "said"), FAULTS, ids=[f"{f[0]}-{i}" for i, f in enumerate(FAULTS)])
def test_a_fault_is_named_with_file_line_key_and_the_right_word(pack, spoil, file, old, new, said):
    spoil(file, old, new)
    found = problems_in(pack)
    text = "\n".join(found)
    assert all(part in text for part in said), text
    assert all(line.startswith("cold_stores/") for line in found)


def test_all_faults_of_all_files_come_at_once(pack, spoil):
    spoil("alarms.yaml", "level: 3", "level: 9")
    spoil("devices.yaml", "measure: temperature", "measure: temprature")
    spoil("duties.yaml", "source: local", "source: lokal")
    (pack / "alarm.yaml").write_text("rules: []\n", "utf-8")
    files = {line.split("/")[1].split(":")[0] for line in problems_in(pack)}
    assert files == {"alarms.yaml", "devices.yaml", "duties.yaml", "alarm.yaml"}


def test_a_file_that_fails_does_not_make_its_names_unknown_elsewhere(pack, spoil):
    spoil("devices.yaml", "measure: temperature", "measure: temprature")
    assert [line for line in problems_in(pack) if not line.startswith("cold_stores/devices.yaml")] == []


def test_a_folder_without_its_files_says_so(tmp_path):
    assert problems_in(tmp_path / "nothing")[0].endswith(f"no such folder: {tmp_path / 'nothing'}")
    (tmp_path / "empty").mkdir()
    assert problems_in(tmp_path / "empty") == ["empty/pack.yaml: is missing", "empty/quality.yaml: is missing"]


def test_a_required_pack_must_exist_and_comes_first(pack, spoil, tmp_path):
    spoil("pack.yaml", "systems: []", "requires: [no_such]")
    with pytest.raises(PackFault, match="no usable pack no_such"):
        load_all([tmp_path])
    spoil("pack.yaml", "requires: [no_such]", "requires: []")
    assert [p.code for p in load_all([tmp_path])] == ["cold_stores"]


def test_a_reference_to_a_pack_that_is_not_required_is_a_fault(pack, spoil):
    spoil("checklists.yaml", "subject_types: [place]", "subject_types: [other.place]")
    assert "is of pack 'other', which is not in requires of pack.yaml" in problems_in(pack)[0]


def test_the_same_folder_name_in_two_places_is_a_fault(pack, tmp_path):
    second = tmp_path / "again"
    second.mkdir()
    (second / "cold_stores").symlink_to(pack)
    assert len(discover([tmp_path, second])) == 2
    with pytest.raises(PackFault, match="another pack folder has this name too"):
        load_all([tmp_path, second])


def test_comments_and_layout_do_not_change_the_digest_but_a_set_point_does(pack, spoil):
    before = load_pack(pack).digest
    spoil("alarms.yaml", "rules:", "# a remark\nrules:")
    assert load_pack(pack).digest == before
    spoil("alarms.yaml", "above: 0", "above: 1")
    assert load_pack(pack).digest != before
