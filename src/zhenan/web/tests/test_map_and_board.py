"""The map's data and the board's figures: cached, limited to what the user may see, no address outside."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from django.urls import reverse
from django.utils import timezone

from zhenan.kernel import slots
from zhenan.kernel.events import kinds
from zhenan.kernel.events.services import record
from zhenan.kernel.slots import BoardTile, MapLayer, Slot
from zhenan.kernel.territory.models import Division
from zhenan.web import scope
from zhenan.web.views.maps import parse_box

pytestmark = pytest.mark.django_db
STATIC = Path(__file__).resolve().parents[1] / "static" / "web"


@pytest.fixture
def layers(monkeypatch):
    slot: Slot[MapLayer] = Slot("map_layers")
    asked = []

    def load(user, bbox):
        asked.append((user.username, bbox))
        return {"type": "FeatureCollection", "features": []}

    slot.register(MapLayer("sites", "Sites", load, capability="subject.view"))
    slot.register(MapLayer("rules", "Rules", load, capability="rule.edit"))
    monkeypatch.setattr(slots, "map_layers", slot)
    return asked


def test_division_polygons_are_sent_once_and_then_known_by_their_tag(client, personas):
    county = Division.objects.get(code="321181")
    county.boundary = {"type": "Polygon", "coordinates": [[[119, 32], [120, 32], [120, 33], [119, 32]]]}
    county.save()
    client.force_login(personas["grid_worker"])
    first = client.get(reverse("web:map-divisions"))
    feature = next(f for f in first.json()["features"] if f["properties"].get("area"))
    assert (feature["properties"]["name"], feature["geometry"]["type"]) == ("丹阳市", "Polygon")
    again = client.get(reverse("web:map-divisions"), headers={"If-None-Match": first["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_a_layer_is_loaded_for_its_user_and_box(client, personas, layers):
    client.force_login(personas["grid_worker"])
    answer = client.get(reverse("web:map-layer", args=["sites"]), {"bbox": "119,31.5,120,32.5"})
    assert answer["Content-Type"] == "application/geo+json"
    assert layers == [("grid_worker", (119.0, 31.5, 120.0, 32.5))]


def test_a_layer_without_its_capability_is_refused_and_not_offered(client, personas, layers):
    client.force_login(personas["grid_worker"])
    assert client.get(reverse("web:map-layer", args=["rules"])).status_code == 403
    assert client.get(reverse("web:map-layer", args=["none"])).status_code == 404
    assert [layer["code"] for layer in client.get("/map/").context["layers"]] == ["sites"]


@pytest.mark.parametrize(
    "raw", ["1,2,3", "a,b,c,d", "nan,0,1,1", "120,31,119,32", "119,33,120,32", "1e999,0,1,1", "\x00"]
)
def test_a_box_that_cannot_be_read_is_refused_with_what_would_be_right(client, personas, layers, raw):
    client.force_login(personas["grid_worker"])
    answer = client.get(reverse("web:map-layer", args=["sites"]), {"bbox": raw})
    assert answer.status_code == 400
    assert layers == []
    with pytest.raises(ValueError, match="bbox"):
        parse_box(raw)


def test_the_maps_own_code_names_no_other_host_but_the_optional_tiles():
    source = (STATIC / "map.js").read_text("utf-8")
    assert [line for line in source.splitlines() if "http" in line and "tianditu" not in line] == []


@pytest.fixture
def happened(personas):
    """An alarm here, a hazard elsewhere, each an hour ago."""
    for code in ("alarm.raised", "hazard.reported"):
        if code not in kinds.REGISTERED:
            kinds.register(code, code)
    at = timezone.now() - timedelta(hours=1)
    data = {"rule": "r", "value": "v"}
    record("alarm.raised", targets=["x:1"], actor=None, at=at, path=personas.here.path, data=data)
    record("hazard.reported", targets=["x:2"], actor=None, at=at, path=personas.elsewhere.path, data=data)


@pytest.mark.parametrize(
    ("who", "seen"),
    [
        ("city_officer", {"alarm.raised", "hazard.reported"}), ("town_officer_here", {"alarm.raised"}),
        ("district_officer_elsewhere", {"hazard.reported"}), ("enterprise_head_here", set()), ("no_post", set()),
        ("gas_department", set()), ("discipline_inspector", {"alarm.raised", "hazard.reported"}),
    ],
)  # fmt: skip
def test_feed_and_chart_tell_of_what_lies_within_reach(client, personas, happened, who, seen):
    user = personas[who]
    assert {e.kind for e in scope.events_heard(user)} == seen
    client.force_login(user)
    assert {e.kind for e in client.get(reverse("web:board-feed")).context["events"]} == seen
    chart = client.get(reverse("web:board-districts")).json()
    assert sum(sum(one["values"]) for one in chart["series"]) == len(seen)


def test_topics_without_their_capability_are_not_heard_of(client, personas, happened):
    user = personas["insurer"]
    assert not scope.hears_topic(user, "alarm")
    assert scope.hears_topic(user, "hazard")


def test_a_figure_opens_its_records_except_on_the_wall(client, personas, monkeypatch):
    slot: Slot[BoardTile] = Slot("board")
    slot.register(BoardTile("open", "Open alarms", lambda user: {"value": 7, "unit": "", "url": "/alarms/?state=open"}))
    slot.register(
        BoardTile("hidden", "Hidden", lambda user: {"value": 1, "unit": "", "url": "/"}, capability="rule.edit")
    )
    monkeypatch.setattr(slots, "board", slot)
    client.force_login(personas["grid_worker"])
    html = client.get("/board/").content.decode()
    assert 'href="/alarms/?state=open"' in html
    assert "Hidden" not in html
    wall = client.get("/board/?wall=1").content.decode()
    assert "/alarms/?state=open" not in wall
    assert 'data-bs-theme="dark"' in wall
