"""No alarm stays for ever that should not, and none goes that should stay: whenever a judge dies, and whatever is lost.

A judge reads a real log and writes to a real database. It is ended at the bad moments without a word, as by a kill:
what it keeps from then on is only what it had saved.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import nats.js.errors
import pytest
from django.db import connections

from zhenan.domains.monitoring import queries, standing
from zhenan.domains.monitoring.devices import register_device, retire_device
from zhenan.domains.monitoring.models import Alarm, AlarmStage, Device, HeldAlarm, Maintenance
from zhenan.domains.register.models import Subject
from zhenan.kernel.events.models import Event
from zhenan.kernel.notices.models import Notice
from zhenan.kernel.people.models import User
from zhenan.kernel.territory.models import Division
from zhenan.kernel.workflow.models import Deadline
from zhenan.packkit.sync import sync_packs
from zhenan.server.processes import judge, reconciling
from zhenan.server.processes.setups import LaneSetup, divide
from zhenan.telemetry.columns import Columns
from zhenan.telemetry.log import streams
from zhenan.telemetry.log.chain import Chain, Fenced
from zhenan.telemetry.log.connect import connect
from zhenan.telemetry.log.follower import Follower

pytestmark = pytest.mark.django_db
ALARM, HIGH, CO = "catering_gas.gas_alarm", "catering_gas.gas_high", "catering_gas.co_alarm"


class City:
    """One gas detector with a judge. `begin` starts a judge from what was kept last, `die` ends it."""

    def __init__(self, url: str) -> None:
        sync_packs()
        town = Division.objects.create(code="321181000", name="town", level=4, path="321181000/")
        self.subject = Subject.objects.create(
            pk=70, type="catering_gas.caterer", programme="catering_gas", key="C", name="C", division=town
        )
        born = datetime.now(UTC) - timedelta(days=1)
        self.device = register_device(
            subject=self.subject, model="catering_gas.gas_detector", key="G", name="G", by=None, at=born
        )
        self.gas = self.device.points.get(measure="gas_lel").pk
        self.co = self.device.points.get(measure="co_ppm").pk
        self.url, self.setup = url, self.now()
        self.kept: list[bytes] = []
        self.refuse: Callable[[Any], bool] = lambda _transitions: False
        self.process: Any = SimpleNamespace(database=self.database)
        self.lane, self.lanes = 0, 1
        self.now_ms = int(time.time() * 1000)

    def now(self) -> LaneSetup:
        return divide(queries.judge_setup(), 1)[0]

    async def database(self, call: Callable[..., Any], *args: Any, **more: Any) -> Any:
        if call.__name__ == "record_transitions" and self.refuse(args[0]):
            raise ValueError("the database takes it not")
        return call(*args, **more)

    async def keep(self, data: bytes) -> None:
        self.kept.append(data)

    async def new_log(self) -> None:
        with contextlib.suppress(nats.js.errors.NotFoundError):
            await self.js.delete_stream(streams.READINGS)
        await streams.ensure(self.js)
        self.chain = Chain(self.client, streams.READINGS, streams.readings_subject(0, "g"))
        await self.chain.open()

    async def say(self, *rows: tuple[float, float], point: int = 0) -> None:
        """(seconds from now, value) each."""
        ts = [self.now_ms + round(second * 1000) for second, _value in rows]
        columns = Columns.of([point or self.gas] * len(rows), ts, [value for _second, value in rows], [0] * len(rows))
        await self.chain.commit(columns.pack(), {})

    async def begin(self) -> judge.Judging:
        live = await judge.resumed(self.js, self.kept[::-1][:2], self.setup)
        follower = Follower(self.client, streams.READINGS, "judge", after=live.place.seq)
        self.beside = reconciling.Reconciling(self.process, live, self.lane, self.lanes)
        self.judging = judge.Judging(
            self.process, live, follower, self.keep, lambda: self.setup, reconciling=self.beside
        )
        self.judging._saved_seq, self.judging._save_s = live.place.seq, 1e9  # it saves when the test says so
        self.enough = asyncio.Event()
        self.task = asyncio.create_task(self.judging.run(self.enough))
        await self.until(lambda: self.beside.rounds > 0)
        return self.judging

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait until something holds and all that is in the log is judged and recorded."""
        last = (await self.js.stream_info(streams.READINGS)).state.last_seq
        deadline = time.monotonic() + 20
        while not (true() and self.judging.live.place.seq >= last and self.judging.live.stamp == self.setup.stamp):
            assert not self.task.done() or self.task.result(), "the judge ended"
            assert time.monotonic() < deadline, vars(self.beside)
            await asyncio.sleep(0.01)

    async def heard(self) -> None:
        last = (await self.js.stream_info(streams.READINGS)).state.last_seq
        before = self.judging.recorded
        await self.until(lambda: self.judging.live.place.seq >= last)
        await asyncio.sleep(0.02)  # the turn's end
        assert self.judging.recorded >= before

    async def look_again(self) -> None:
        rounds, self.beside._due = self.beside.rounds, 0.0
        await self.until(lambda: self.beside.rounds > rounds)

    async def die(self) -> None:
        """As by a kill: nothing is saved."""
        self.task.cancel()
        await asyncio.wait([self.task])
        await self.judging.follower.close()


@pytest.fixture
def city(nats_url: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[City], Awaitable[None]]], None]:
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    monkeypatch.setattr(judge, "IDLE_S", 0.02)
    made, own = City(nats_url), connections["default"]

    async def whole(story: Callable[[City], Awaitable[None]]) -> None:
        connections["default"] = own  # the test's own transaction, which a loop would else not see
        made.client = await connect(nats_url, "test")
        made.js = made.client.jetstream(timeout=5)
        await made.new_log()
        try:
            await story(made)
        finally:
            await made.die()
            await made.client.close()

    return lambda story: asyncio.run(whole(story))


def words(kind: str = "alarm.withdrawn") -> list[str]:
    return [event.data.get("withdrawn", "") for event in Event.objects.filter(kind=kind)]


def without(setup: LaneSetup, rule: str) -> LaneSetup:
    """Rules of a new version of the pack, in which this one looks at nothing."""
    assert setup.groups is not None
    number = [one.id for one in setup.rules].index(rule)
    groups = setup.groups._replace(rules=[tuple(n for n in group if n != number) for group in setup.groups.rules])
    return replace(setup, stamp="other rules", groups=groups)


def changed(setup: LaneSetup, rule: str, **terms: Any) -> LaneSetup:
    rules = tuple(one.model_copy(update=terms) if one.id == rule else one for one in setup.rules)
    return replace(setup, stamp="other rules", rules=rules)


async def raised_after_the_last_save(city: City, second: float = 1) -> None:
    await city.begin()
    await city.say((second - 1, 1.0))
    await city.heard()
    await city.judging.save()
    await city.say((second, 25.0))
    await city.heard()
    assert Alarm.objects.filter(cleared_at=None).count() == 1
    await city.die()


@pytest.mark.parametrize(
    ("change", "why"), [("gone", "rule"), ("raised", "over"), ("retired", "point"), ("model", "rule")]
)
def test_an_alarm_that_the_judge_of_other_rules_raised_since_its_last_save_is_withdrawn(city, change, why):
    async def story(here: City) -> None:
        await raised_after_the_last_save(here)
        if change == "gone":
            here.setup = without(here.setup, ALARM)
        elif change == "raised":
            here.setup = changed(here.setup, ALARM, above=60.0)
        elif change == "retired":
            retire_device(here.device.pk, by=None, at=datetime.now(UTC))
            here.setup = here.now()
        else:
            Device.objects.update(model="catering_gas.shutoff_valve", changed_at=datetime.now(UTC))
            here.setup = here.now()
        await here.begin()
        assert not Alarm.objects.filter(cleared_at=None).exists()
        assert not AlarmStage.objects.filter(cleared_at=None).exists()
        assert (words(), words("alarm.cleared")) == ([why], [])

    city(story)


def test_what_stands_by_the_rules_of_now_is_left_alone_at_every_start(city):
    async def story(here: City) -> None:
        await raised_after_the_last_save(here)
        for _ in range(2):
            await here.begin()
            await here.judging.save()
            await here.die()
        here.setup = without(here.setup, "catering_gas.co_alarm")
        await here.begin()
        assert [alarm.cleared_at for alarm in Alarm.objects.all()] == [None]
        assert (words(), here.beside.raised, here.beside.withdrawn) == ([], 0, 0)

    city(story)


def test_a_judge_killed_between_saving_and_recording_a_withdrawal_records_it_when_it_is_back(city):
    async def story(here: City) -> None:
        await here.begin()
        await here.say((1, 25.0))
        await here.heard()
        gone = {"now": False}

        async def keep_and_die(data: bytes) -> None:
            here.kept.append(data)
            gone["now"] = True
            raise Fenced("killed behind the save")

        here.judging._keep = keep_and_die
        here.setup = without(here.setup, ALARM)
        await asyncio.wait([here.task], timeout=10)
        assert gone["now"]
        assert Alarm.objects.filter(cleared_at=None).exists()
        await here.begin()
        assert (Alarm.objects.filter(cleared_at=None).count(), words()) == (0, ["rule"])

    city(story)


def test_with_its_state_lost_a_judge_says_of_the_log_what_was_said_before(city):
    async def story(here: City) -> None:
        await raised_after_the_last_save(here, second=60)
        here.kept.clear()
        await here.begin()
        assert [alarm.cleared_at for alarm in Alarm.objects.all()] == [None]
        await here.say((70, 5.0), (131, 5.0))
        await here.heard()
        assert (Alarm.objects.filter(cleared_at=None).count(), words(), words("alarm.cleared")) == (0, [], [""])

    city(story)


@pytest.mark.parametrize("kept", [True, False], ids=["state kept", "state lost"])
def test_with_the_log_lost_an_alarm_stands_until_a_reading_by_the_rule_ends_it(city, kept):
    async def story(here: City) -> None:
        await raised_after_the_last_save(here, second=-600)
        if not kept:
            here.kept.clear()
        await here.new_log()
        await here.begin()
        alarm = Alarm.objects.get()
        assert alarm.cleared_at is None
        await here.judging.save()
        await here.die()
        await here.begin()  # it knows it now from its state
        await here.say((1, 15.0), (100, 15.0))  # less than raises it, more than ends it
        await here.heard()
        assert Alarm.objects.get().cleared_at is None
        await here.say((101, 5.0), (162, 5.0))
        await here.heard()
        alarm.refresh_from_db()
        assert alarm.cleared_at is not None
        assert (Alarm.objects.count(), words(), words("alarm.cleared")) == (1, [], [""])

    city(story)


def test_with_its_state_lost_an_alarm_of_a_rule_that_is_gone_is_withdrawn(city):
    async def story(here: City) -> None:
        await raised_after_the_last_save(here, second=-600)
        here.kept.clear()
        await here.new_log()
        here.setup = without(here.setup, ALARM)
        await here.begin()
        assert (Alarm.objects.filter(cleared_at=None).count(), words()) == (0, ["rule"])

    city(story)


def test_a_state_older_than_the_record_does_not_keep_a_new_alarm_quiet(city):
    """It stood at the last save and was ended since; the log that said so is gone."""

    async def story(here: City) -> None:
        await here.begin()
        await here.say((-600, 25.0))
        await here.heard()
        await here.judging.save()
        await here.say((-500, 5.0), (-430, 5.0))
        await here.heard()
        assert not Alarm.objects.filter(cleared_at=None).exists()
        await here.die()
        await here.new_log()
        await here.begin()
        await here.say((1, 30.0))
        await here.heard()
        assert [stage.value for stage in AlarmStage.objects.filter(rule=ALARM, cleared_at=None)] == [30.0]

    city(story)


def test_an_alarm_whose_record_was_lost_is_raised_again(city):
    async def story(here: City) -> None:
        await here.begin()
        await here.say((1, 55.0))
        await here.heard()
        onset = here.now_ms + 1000
        AlarmStage.objects.get(rule=HIGH).delete()  # a stage,
        await here.look_again()
        assert AlarmStage.objects.filter(cleared_at=None).count() == 2
        for rows in (Deadline, Notice, Alarm):  # and all of it
            rows.objects.all().delete()
        await here.look_again()
        assert [round(a.onset.timestamp() * 1000) for a in Alarm.objects.filter(cleared_at=None)] == [onset]
        assert AlarmStage.objects.filter(cleared_at=None).count() == 2
        await here.say((10, 1.0), (71, 1.0))
        await here.heard()
        assert not Alarm.objects.filter(cleared_at=None).exists()

    city(story)


def test_a_clear_that_the_database_refused_is_put_right(city):
    async def story(here: City) -> None:
        await here.begin()
        await here.say((1, 25.0), (30, 25.0), point=here.gas)
        await here.heard()
        here.refuse = lambda transitions: any(t.kind == "clear" for t in transitions)
        await here.say((40, 1.0), (101, 1.0))
        await here.heard()
        assert (here.judging.unrecorded, Alarm.objects.filter(cleared_at=None).count()) == (1, 1)
        here.refuse = lambda _transitions: False
        await here.look_again()
        assert (Alarm.objects.filter(cleared_at=None).count(), words()) == (0, ["over"])

    city(story)


def test_a_held_alarm_of_a_rule_that_is_gone_waits_no_more_and_is_told_to_nobody(city):
    async def story(here: City) -> None:
        at = datetime.now(UTC)
        Maintenance.objects.create(
            device=here.device, programme="catering_gas", reason="test", starts_at=at - timedelta(hours=1),
            ends_at=at + timedelta(hours=1), made_by=User.objects.create(username="u"), made_at=at,
        )  # fmt: skip
        await here.begin()
        await here.judging.save()
        await here.say((1, 25.0))
        await here.heard()
        assert HeldAlarm.objects.filter(cleared_at=None).count() == 1
        await here.die()
        here.setup = without(here.setup, ALARM)
        await here.begin()
        assert (HeldAlarm.objects.filter(cleared_at=None).count(), Alarm.objects.count()) == (0, 0)

    city(story)


@pytest.mark.parametrize("lane", [0, 1])
def test_of_two_lanes_each_looks_at_the_alarms_of_its_own_subjects(city, lane):
    async def story(here: City) -> None:
        await raised_after_the_last_save(here)
        here.setup, here.lane, here.lanes = without(here.setup, ALARM), lane, 2
        await here.begin()  # subject 70 is of partition 6, in the first lane of two
        assert Alarm.objects.filter(cleared_at=None).count() == lane

    city(story)


def test_a_judge_that_lost_its_lane_puts_nothing_right(city):
    async def story(here: City) -> None:
        await raised_after_the_last_save(here)
        here.setup = without(here.setup, ALARM)

        async def refused(_data: bytes) -> None:
            raise Fenced("a later holder was here")

        here.keep = refused  # type: ignore[method-assign]
        with pytest.raises(Fenced):
            await here.begin()
        assert Alarm.objects.filter(cleared_at=None).count() == 1

    city(story)


@pytest.mark.parametrize("killed", ["never", "before it saved", "after it saved"])
def test_what_a_device_says_before_the_judge_knows_it_is_judged_when_it_does(city, killed):
    """The gateway has read the register, the judge has not: the device says once that there is gas."""

    async def story(here: City) -> None:
        await here.begin()
        born = datetime.now(UTC)
        other = register_device(
            subject=here.subject, model="catering_gas.gas_detector", key="N", name="N", by=None, at=born
        )
        gas = other.points.get(measure="gas_lel").pk
        await here.say((1, 55.0), point=gas)
        await here.heard()
        assert (here.judging.live.counters.refused, Alarm.objects.count()) == (1, 0)
        if killed == "after it saved":
            await here.judging.save()
        here.setup = here.now()
        if killed == "never":
            await here.until(lambda: Alarm.objects.exists())
        else:
            await here.die()
            await here.begin()
        await here.say((2, 1.0), point=gas)  # what comes after it is judged after it
        await here.heard()
        assert [(s.rule, s.point_id, s.cleared_at) for s in AlarmStage.objects.order_by("rule")] == [
            (ALARM, gas, None), (HIGH, gas, None)
        ]  # fmt: skip
        counts = here.judging.live.counters
        assert (counts.readings, counts.judged, counts.refused) == (2, 2, 0)

    city(story)


def test_pages_hold_each_open_row_once_and_leave_out_what_fences_raise(city):
    async def story(here: City) -> None:
        await here.begin()
        await here.say((1, 55.0))
        await here.say((1, 200.0), (62, 200.0), point=here.co)
        await here.heard()
        await here.judging.save()
        fence = Alarm.objects.get(rule=CO)
        fence.pk, fence.rule = "6f1d6b0e-5a53-5e0f-9c43-7a0f5b0c1d92", "围栏「库区」超速"
        fence.save(force_insert=True)
        found, after = [], (0, None)
        while after is not None:
            page = standing.open_on_record(range(64), after=after, most=1)
            found += page.rows
            after = page.next
        assert sorted(row.rule for row in found) == sorted([ALARM, HIGH, CO])
        assert standing.open_on_record(range(7, 64), most=10).rows == []

    city(story)
