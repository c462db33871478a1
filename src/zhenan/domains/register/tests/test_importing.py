"""Import of subjects: typed columns, rights row by row, round trips."""

from __future__ import annotations

import csv
import io

import pytest
from django.core.files.base import ContentFile
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zhenan.domains.register import services
from zhenan.domains.register.models import Subject
from zhenan.domains.register.tests.conftest import AT, CATERER, ENTERPRISE, required
from zhenan.kernel.errors import DomainError
from zhenan.kernel.events.models import Event
from zhenan.kernel.imports import exporting
from zhenan.kernel.imports.models import ImportRun
from zhenan.kernel.imports.services import carry_out, receive
from zhenan.kernel.imports.specs import all_specs, spec_of
from zhenan.kernel.territory.models import Division
from zhenan.rules import credit_code

pytestmark = pytest.mark.django_db


def imported(spec: str, text: str, *, actor=None, write=True) -> ImportRun:
    run = receive(ContentFile(text.encode(), "f.csv"), "f.csv", spec_of(spec), actor=actor, at=timezone.now())
    run.state, run.dry_run = (run.State.APPLYING, False) if write else (run.State.JUDGING, True)
    run.save()
    return carry_out(run, at=timezone.now())


def reasons(run: ImportRun) -> dict[int, str]:
    return {row.line: row.text for row in run.judged_rows.filter(verdict="refuse")}


def test_every_subject_type_has_an_import_with_its_fields_as_columns(city):
    spec = all_specs()[CATERER]
    assert "用气类型" in {name for c in spec.columns for name in c.accepted()}
    assert spec_of("subject:" + CATERER).code == CATERER


def test_typed_cells_are_read_and_wrong_ones_refused_by_column(personas):
    run = imported(
        CATERER,
        "名称,用气类型,餐位数,所属镇街,经度,纬度,已装紧急切断阀\n"
        f"甲,管道天然气,60,{personas.here.code},119.5,32.0,是\n"
        "乙,煤,1.5,司徒镇,200,32,也许\n"
        "丙,,10,火星镇,,,\n"
        "丁,瓶装液化石油气,10,丹阳市司徒镇,,,否\n",
    )
    assert (run.count("created"), run.count("refused")) == (2, 2)
    first = Subject.objects.get(name="甲")
    assert first.attributes == {"gas_kind": "natural", "seats": 60, "shutoff_fitted": True}
    assert (first.lon, first.division) == (119.5, personas.here)
    text = reasons(run)[3]
    for part in ("“煤”", "“1.5”", "200", "“也许”"):
        assert part in text
    assert "火星镇" in reasons(run)[4]
    assert Subject.objects.get(name="丁").division.name == "司徒镇"


def test_without_a_division_the_address_tells_the_town_or_the_row_is_refused(city):
    run = imported(CATERER, "名称,用气类型,地址\n甲,管道天然气,丹阳市司徒镇中街1号\n乙,管道天然气,中街1号\n")
    assert Subject.objects.get().division.name == "司徒镇"
    assert "which division" in reasons(run)[3]


def test_an_empty_cell_and_a_missing_column_leave_what_is_stored(make):
    subject = make("甲", phone="110", attributes={"seats": 5})
    run = imported(CATERER, "名称,电话,餐位数\n甲,,6\n")
    subject.refresh_from_db()
    assert (run.count("updated"), subject.phone, subject.attributes["seats"]) == (1, "110", 6)


def test_each_row_leaves_one_event_that_names_the_file(make):
    make("甲")
    imported(CATERER, "名称,用气类型,餐位数,地址\n甲,,6,\n乙,管道天然气,,丹阳市司徒镇\n")
    kinds = Event.objects.filter(kind__startswith="subject.", data__note__icontains="f.csv").values_list(
        "kind", flat=True
    )
    assert sorted(kinds) == ["subject.created", "subject.updated"]


def test_an_officer_imports_rows_of_the_own_town_and_others_are_refused(make, personas):
    make("别处", "elsewhere")
    text = (
        "名称,用气类型,餐位数,所属镇街\n"
        f"本镇,管道天然气,1,{personas.here.code}\n"
        f"外镇,管道天然气,1,{personas.elsewhere.code}\n"
        "别处,管道天然气,99,\n"
    )
    run = imported(CATERER, text, actor=personas["town_officer_here"])
    assert (run.count("created"), run.count("refused")) == (1, 2)
    assert "seats" not in Subject.objects.get(name="别处").attributes


def test_an_administrator_who_may_import_but_not_edit_changes_nothing(personas):
    run = imported(
        CATERER, f"名称,用气类型,所属镇街\n甲,管道天然气,{personas.here.code}\n", actor=personas["administrator"]
    )
    assert (run.count("created"), run.count("refused")) == (0, 1)
    assert not Subject.objects.exists()


USERS = st.sampled_from(
    [
        "city_officer",
        "district_officer_here",
        "town_officer_here",
        "town_officer_elsewhere",
        "gas_department",
        "administrator",
    ]
)
PLACES = st.sampled_from(["here", "elsewhere", "grid"])


@given(user=USERS, place=PLACES, existing=st.none() | PLACES, kind=st.sampled_from([CATERER, ENTERPRISE]))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_import_does_what_the_form_may_not(personas, user, place, existing, kind):
    """The same change by service (as the form does it) and by file: both done, or both refused."""
    code = credit_code.complete("91", "321181", "MA1ABCDE")
    attributes = required() if kind == CATERER else {"unified_code": code}
    Subject.objects.all().delete()
    divisions = {"here": personas.here, "elsewhere": personas.elsewhere, "grid": personas.grid}
    subject = None
    if existing:
        subject = services.create_subject(
            actor=None, at=AT, type=kind, name="甲", division=divisions[existing], attributes=attributes
        )
    actor = personas[user]
    cell = "管道天然气" if kind == CATERER else code
    column = "用气类型" if kind == CATERER else "统一社会信用代码"
    text = f"名称,{column},所属区划,电话\n甲,{cell},{divisions[place].code},119\n"
    try:
        by_file = imported(kind, text, actor=actor, write=False).count("refused") == 0
    except DomainError:
        by_file = False
    try:
        if subject is None:
            services.create_subject(
                actor=actor, at=AT, type=kind, name="甲", division=divisions[place], phone="119", attributes=attributes
            )
        else:
            changes = {"division": divisions[place], "phone": "119"}
            services.update_subject(subject.pk, actor=actor, at=AT, changes=changes)
        by_form = True
    except DomainError:
        by_form = False
    assert by_form or not by_file


def test_an_export_imports_as_unchanged(make):
    make(
        "=甲",
        lon=119.5,
        lat=32.0,
        phone="0511-86666666",
        attributes={"seats": 7, "floor_area_m2": 12.5, "basement": False},
    )
    make("乙, 丙", "elsewhere", attributes={"detector_made_on": "2025-01-31"})
    table = exporting.table_of(spec_of(CATERER), None)
    text = b"".join(exporting.csv_pieces(table)).decode("utf-8-sig")
    assert len(list(csv.reader(io.StringIO(text)))) == 3
    run = imported(CATERER, text)
    assert (run.count("unchanged"), run.count("rows")) == (2, 2)


# The company register


HEAD = "name,uscc,reg_date,type,capital,scope,province,city,address\n"
GOOD = credit_code.complete("91", "321181", "MA1ABCDE")
OTHER = credit_code.complete("91", "321181", "MA1ABCDF")


def test_a_mistyped_credit_code_is_refused_and_the_right_character_said(city):
    wrong = GOOD[:-1] + ("A" if GOOD[-1] != "A" else "B")
    run = imported("enterprise", HEAD + f"甲有限公司,{wrong},2020-01-01,,50(万元人民币),,江苏,镇江,丹阳市司徒镇\n")
    assert f"must be {GOOD[-1]}" in reasons(run)[2]


def test_a_registered_enterprise_is_placed_dated_and_valued(city):
    imported("enterprise", HEAD + f"甲有限公司,{GOOD.lower()},2020年1月5日,,7(万美元),制造,江苏,镇江,丹阳市司徒镇\n")
    made = Subject.objects.get()
    assert (made.type, made.key, made.credit_code, made.division.name) == (ENTERPRISE, GOOD, GOOD, "司徒镇")
    assert made.attributes["registered_on"] == "2020-01-05"
    assert (made.attributes["capital"], made.attributes["capital_currency"]) == (70_000, "USD")
    assert made.attributes["authority"] == "321181"


def test_a_grid_chosen_by_hand_outlives_the_next_import_of_the_same_address(personas):
    row = HEAD + f"甲有限公司,{GOOD},2020-01-05,,,,江苏,镇江,丹阳市\n"
    imported("enterprise", row)
    services.move_subject(Subject.objects.get().pk, personas.grid, actor=None, at=AT)
    assert imported("enterprise", row).count("unchanged") == 1
    assert Subject.objects.get().division == personas.grid


def test_nearly_the_same_name_with_another_code_is_taken_with_a_merge_proposal(city):
    run = imported(
        "enterprise",
        HEAD + f"丹阳荣达精密工具有限公司,{GOOD},,,,,,,丹阳市\n丹阳市荣达精密工具厂,{OTHER},,,,,,,丹阳市\n",
    )
    assert run.count("created") == 2
    assert GOOD in run.judged_rows.get(warned=True).text


def test_the_export_of_the_company_register_imports_as_unchanged(city):
    imported("enterprise", HEAD + f"甲有限公司,{GOOD},2020-01-05,国有,53.2254(万美元),制造,江苏,镇江,丹阳市司徒镇\n")
    text = b"".join(exporting.csv_pieces(exporting.table_of(spec_of("enterprise"), None))).decode("utf-8-sig")
    assert imported("enterprise", text).count("unchanged") == 1


def test_a_grid_code_is_a_division_too(personas):
    imported(CATERER, f"名称,用气类型,网格\n甲,管道天然气,{personas.grid.code}\n")
    assert Subject.objects.get().division == Division.objects.get(level="grid")
