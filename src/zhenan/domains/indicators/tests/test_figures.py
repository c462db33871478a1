"""Figures counted from records, worked by hand on a small city."""

from datetime import UTC, date, datetime, timedelta

import pytest

from zhenan.domains.indicators.queries import Question, all_figures, by_division, by_month, figure, indicators, records
from zhenan.domains.monitoring.devices import register_device
from zhenan.domains.monitoring.models import Alarm
from zhenan.domains.register.models import Subject
from zhenan.packkit.registry import registry
from zhenan.packkit.sync import sync_packs

DAY = date(2026, 3, 2)
NOON = datetime(2026, 3, 2, 4, 0, tzinfo=UTC)


@pytest.fixture
def caterers(personas):
    """Four caterers on gas (one elsewhere), one without gas, one closed; two of the four fitted with both devices."""
    sync_packs()

    def make(key, *, fitted="", division=None, gas="natural", status="active", **more):
        subject = Subject.objects.create(
            type="catering_gas.caterer",
            programme="catering_gas",
            key=key,
            name=key,
            division=division or personas.here,
            status=status,
            attributes={"gas_kind": gas, **more},
        )
        for model in fitted.split():
            register_device(
                subject=subject, model=f"catering_gas.{model}", key=f"{key}-{model}", name=model, by=None, at=NOON
            )
        return subject

    return {
        "a": make("a", fitted="gas_detector shutoff_valve", subsidy_yuan=1500),
        "b": make("b", fitted="gas_detector shutoff_valve", subsidy_yuan=500.5, division=personas.elsewhere),
        "c": make("c", fitted="gas_detector"),
        "d": make("d"),
        "none": make("none", gas="none"),
        "closed": make("closed", fitted="gas_detector shutoff_valve", status="closed"),
    }


def value(code, personas=None, **asked):
    question = Question(asked.pop("user", None), asked.pop("as_of", DAY), **asked)
    return figure(registry().indicator(f"catering_gas.{code}"), question).value


def test_a_count_takes_only_what_meets_every_condition(caterers):
    assert value("catering_users") == 4


def test_a_ratio_is_numerator_over_denominator_in_per_cent(caterers):
    assert value("fitted_rate") == pytest.approx(50.0)


def test_a_retired_device_no_longer_counts(caterers):
    caterers["a"].devices.update(active=False)
    assert value("fitted_rate") == pytest.approx(25.0)


def test_a_sum_reads_a_typed_attribute(caterers):
    assert value("subsidy_paid") == pytest.approx(2000.5)


def test_a_ratio_with_nothing_below_the_line_has_no_value(personas):
    sync_packs()
    assert value("fitted_rate") is None


def test_a_person_gets_the_figure_of_their_own_part(caterers, personas):
    assert value("catering_users", user=personas["district_officer_here"]) == 3
    assert value("catering_users", user=personas["town_officer_elsewhere"]) == 1
    assert value("catering_users", user=personas["gas_department"]) == 4


def test_parts_add_up_to_the_whole_and_open_their_records(caterers, personas):
    one = registry().indicator("catering_gas.catering_users")
    parts = {division.code: f.value for division, f in by_division(one, Question(None, DAY))}
    assert parts == {"321181": 3, "321183": 1}
    behind = records(one, Question(None, DAY, path=personas.elsewhere.path))
    assert [s.key for s in behind] == ["b"]


def test_the_records_of_a_ratio_are_those_below_or_above_the_line(caterers):
    one = registry().indicator("catering_gas.fitted_rate")
    assert set(records(one, Question(None, DAY)).values_list("key", flat=True)) == {"a", "b", "c", "d"}
    assert set(records(one, Question(None, DAY), numerator=True).values_list("key", flat=True)) == {"a", "b"}


@pytest.fixture
def alarms(caterers):
    point = caterers["a"].devices.get(model="catering_gas.gas_detector").points.get(measure="gas_lel")

    def make(n, *, days=0, cause="", respond_s=None):
        raised = NOON + timedelta(days=days)
        Alarm.objects.create(
            id=f"00000000-0000-5000-8000-{n:012d}",
            point=point,
            device=point.device,
            subject=caterers["a"],
            programme="catering_gas",
            rule="catering_gas.gas_alarm",
            measure="gas_lel",
            level=2,
            onset=raised,
            raised_at=raised,
            respond_by=raised + timedelta(minutes=3),
            cause=cause,
            acknowledged_at=None if respond_s is None else raised + timedelta(seconds=respond_s),
        )

    make(1, cause="real", respond_s=60)
    make(2, cause="false_alarm", respond_s=120)
    make(3, days=-40, cause="false_alarm", respond_s=600)
    make(4)


def test_flows_are_counted_in_their_period_and_by_month(alarms):
    assert value("gas_alarms") == 4
    assert value("gas_alarms", since=date(2026, 3, 1), until=date(2026, 3, 31)) == 3
    months = by_month(registry().indicator("catering_gas.gas_alarms"), Question(None, DAY))
    assert [(m.isoformat(), f.value) for m, f in months] == [("2026-01-01", 1), ("2026-03-01", 3)]


def test_false_alarms_over_those_whose_cause_is_known(alarms):
    assert value("false_alarm_rate") == pytest.approx(100 * 2 / 3)


def test_the_median_leaves_out_what_is_not_answered(alarms):
    assert value("median_response") == 120


def test_what_comes_after_the_date_asked_does_not_count(alarms):
    assert value("gas_alarms", as_of=date(2026, 2, 1)) == 1


def test_every_indicator_of_every_pack_compiles_and_runs(caterers):
    for one in registry().indicators():
        asked = Question(None, DAY)
        figure(one, asked)
        by_division(one, asked)
        by_month(one, asked)
        records(one, asked, numerator=True).count()


@pytest.mark.parametrize(
    "reader", ["nobody", "city_officer", "town_officer_here", "enterprise_head_here", "administrator"]
)
@pytest.mark.parametrize("rows", ["none", "caterers", "alarms"])
def test_all_figures_at_once_are_those_of_each_alone(request, personas, reader, rows, django_assert_max_num_queries):
    sync_packs()
    if rows != "none":
        request.getfixturevalue(rows)
    asked = Question(None if reader == "nobody" else personas[reader], DAY, since=date(2026, 1, 1))
    alone = [figure(one, asked) for one in indicators()]
    assert len(alone) > 20
    all_figures(asked)  # the reader's posts are read once
    with django_assert_max_num_queries(1):
        together = all_figures(asked)
    assert together == alone
    assert all_figures(asked, only=indicators()[:1]) == alone[:1]
    assert all_figures(asked, only=[]) == []
