"""From a device's channels to its points."""

import math

import pytest
from pydantic import ValidationError

from zhenan.packkit.devices import bindings, channel_of
from zhenan.packkit.loader import load_pack
from zhenan.packkit.registry import DEFAULT_DIR, from_packs
from zhenan.packkit.schema import DeviceModel
from zhenan.telemetry.gateway.mapping import compiled


@pytest.fixture(scope="module")
def registry():
    return from_packs(load_pack(DEFAULT_DIR / name) for name in ("smart_fire", "catering_gas"))


def test_a_status_word_gives_a_point_for_each_declared_bit(registry):
    smoke = registry.device_model("smart_fire.smoke_detector")
    found = bindings(smoke, source="321100000001", channels=["sys1.42.7.status"])
    assert [(b.measure, b.bit) for b in found] == [("fire_status", 1), ("fault_status", 2), ("shielded_status", 3)]
    assert [b.value_of(0x0002) for b in found] == [1, 0, 0]
    assert [b.value_of(0x000D) for b in found] == [0, 1, 1]
    assert {(b.source, b.channel) for b in found} == {("321100000001", "sys1.42.7.status")}


def test_one_detector_of_smart_electricity_has_its_measures_from_four_channels(registry):
    model = registry.device_model("smart_fire.smart_electricity")
    names = ["sys0.17.5.a9", "sys0.18.5.a3", "sys0.16.5.a128", "sys0.16.5.status"]
    found = {b.measure: b for b in bindings(model, source="s", channels=names)}
    assert set(found) == {
        "residual_current",
        "cable_temperature",
        "load_ratio",
        "fire_status",
        "fault_status",
        "shielded_status",
    }
    assert found["residual_current"].value_of(30.0) == 300  # the maker's tenths of an ampere carry milliamperes
    assert found["residual_current"].raw_of(300) == 30.0


@pytest.mark.parametrize(
    ("name", "measure"),
    [
        ("sys0.17.5.a9", "residual_current"),
        ("sys0-2.17.65536.a9", "residual_current"),
        ("sys0.18.1.a3", "cable_temperature"),
    ],
)
def test_the_system_and_the_address_may_vary(registry, name, measure):
    assert channel_of(registry.device_model("smart_fire.smart_electricity"), name).measure == measure


@pytest.mark.parametrize("name", ["sys0.17.5.a3", "sys0.17.a9", "status", "sys1.45.7.status", "sys1.42.7.8.status", ""])
def test_a_channel_of_another_kind_gives_no_point(registry, name):
    for model in ("smart_electricity", "smoke_detector"):
        assert bindings(registry.device_model(f"smart_fire.{model}"), source="s", channels=[name]) == []


def test_json_texts_become_states_and_unknown_ones_become_nothing(registry):
    valve = bindings(registry.device_model("catering_gas.shutoff_valve"), source="CG1-V")[0]
    assert [valve.value_of(text) for text in ("closed", "open", "jammed")] == [0, 1, 3]
    assert math.isnan(valve.value_of("exploded"))


@pytest.mark.parametrize(("value", "fits"), [(0, True), (100, True), (-0.1, False), (100.1, False), (math.nan, False)])
def test_a_value_outside_the_range_is_unfit(registry, value, fits):
    gas = bindings(registry.device_model("catering_gas.gas_detector"), source="CG1-D")[0]
    assert (gas.measure, gas.fits(value)) == ("gas_lel", fits)


def _faults(**model):
    base = {"code": "p.m", "name": {"zh": "型号", "en": "Model"}, "protocol": "mqtt_json"}
    channel = {"channel": "lel", "measure": "gas_lel", "unit": "%LEL"}
    channels = [channel | one for one in model.pop("channels", [{}])]
    try:
        DeviceModel.model_validate(base | {"channels": channels} | model)
    except ValidationError as err:
        return [(".".join(map(str, e["loc"])), e["msg"]) for e in err.errors()]
    return []


def test_every_bad_path_of_a_model_is_named_at_once():
    faults = _faults(channels=[{"path": "lel"}, {"channel": "co", "measure": "co_ppm", "unit": "ppm", "path": "$..co"}],
                     payload={"samples": "$.a[", "ts": "$.t[*]"})  # fmt: skip
    assert [where for where, _ in faults] == ["channels.0.path", "channels.1.path", "payload.samples", "payload.ts"]
    assert "begins with $" in faults[0][1]


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({"channels": [{"path": "$.a"}, {"channel": "co", "measure": "co_ppm", "unit": "ppm"}]}, "without a path: co"),
        ({"payload": {"ts": "$.t"}}, "without a path: lel"),
        ({"channels": [{"path": "$.a"}], "protocol": "hj212"}, "belong to protocol mqtt_json"),
        ({"channels": [{"channel": "lel[0-9]", "path": "$.a"}]}, "plain name"),
        ({"protocol": "gb26875", "downlink": ["sync_clok"]}, "did you mean 'sync_clock'"),
    ],
)
def test_a_mapping_that_cannot_work_is_refused_with_the_reason(model, words):
    assert any(words in text for _, text in _faults(**model))


def test_a_sound_mapping_gives_the_gateway_its_layout():
    assert _faults(channels=[{"path": "$.g.lel"}], payload={"samples": "$.d[*]", "ts": "$.t", "ts_unit": "s"}) == []
    model = DeviceModel.model_validate(
        {"code": "p.m", "name": {"zh": "型号", "en": "Model"}, "protocol": "mqtt_json",
         "channels": [{"channel": "lel", "measure": "gas_lel", "unit": "%LEL", "path": "$.g.lel"}]}
    )  # fmt: skip
    assert compiled(model.layout).layout.channels == {"lel": "$.g.lel"}
