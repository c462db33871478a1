"""Several machines: three NATS nodes, two gateways, three judges, two historians, and devices behind a balancer.

While devices send over GB/T 26875.3 and MQTT until they are answered, workers and nodes are killed, cut off and paused
(and wake up as zombies). Then every reading is in history once or was refused and counted once, the alarms are those
that one undisturbed judge gives, each told once, and each worker's lanes were taken over in less than ten seconds.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from tests import test_crash as story
from tests.support import databases
from tests.support.cluster import NatsCluster, Worker, held_by, holdings
from tests.support.links import Links
from tests.support.live import Running, copy_schema

from zhenan.server import embedded, health
from zhenan.telemetry.codecs import gb26875
from zhenan.telemetry.gateway.intake import REFUSED
from zhenan.telemetry.history.table import History
from zhenan.telemetry.log import streams
from zhenan.telemetry.log.chain import head_of

LANES = 16
PROMISED_S = 10.0
PACE_S = 0.3  # between two messages of a device: the load lasts as long as the trouble does
SOURCES = ("g1", "g2", "mqtt")
SITE = "0000000007e1"  # its smoke detector and its heat detector are devices of one subject
SMOKE, HEAT = 40, 31


class City:
    """The whole of it."""

    def __init__(self, folder: Path, nats: NatsCluster, postgres: Any) -> None:
        self.nats, self.folder, self.history = nats, folder, str(folder / "history")
        self.env = {
            "DATABASE_URL": postgres.url,
            "HISTORY_URL": self.history,
            "ZHENAN_LOG_LANES": str(LANES),
            "ZHENAN_LOG_REPLICAS": "3",
            "ZHENAN_HISTORY_SECONDS": "1",
            "ZHENAN_SECRET_KEY": "one key for all machines of this test",
        }
        self.workers: dict[str, Worker] = {}
        self.balancer = Links()

    def start(self) -> None:
        mqtt_port = self.balancer.port_to(*((node.host, node.mqtt_port) for node in self.nats.nodes))
        login = self.nats.nodes[0].mqtt_url.rpartition("@")[0]
        self.mqtt = SimpleNamespace(mqtt_url=f"{login}@127.0.0.1:{mqtt_port}")
        self.env["MQTT_URL"] = self.mqtt.mqtt_url
        ports = [embedded.free_port(0) for _ in range(2)]
        fronts = [embedded.free_port(0) for _ in range(2)]
        for number, (port, front) in enumerate(zip(ports, fronts, strict=True), 1):
            others = (f"--{name}-port=0" for name in ("jt808", "hj212", "http"))
            wanted = ("--host", "127.0.0.1", "--gb26875-port", str(port), "--mqtt-port", str(front), *others)
            self._add(f"g{number}", "gateway", *wanted, ZHENAN_GATEWAY_NAME=f"g{number}")
        for number in (1, 2, 3):
            self._add(f"j{number}", "judge")
        for number in (1, 2):
            self._add(f"h{number}", "historian")
        self.device_port = self.balancer.port_to(*(("127.0.0.1", port) for port in ports))
        self.front_port = self.balancer.port_to(*(("127.0.0.1", port) for port in fronts))

    def _add(self, name: str, command: str, *arguments: str, **env: str) -> None:
        self.workers[name] = Worker(self.nats, self.folder, name, command, *arguments, **self.env, **env)

    def __getitem__(self, name: str) -> Worker:
        return self.workers[name]

    def held_by(self, role: str, *names: str) -> float:
        """When these workers held every lane of a role, each of them some."""
        try:
            return held_by(self.nats, role, set(names), LANES)
        except AssertionError as err:
            logs = "\n".join(
                f"{name}: {worker.process.poll()}\n{worker.log()}" for name, worker in self.workers.items()
            )
            raise AssertionError(f"{err}\n{logs}") from None

    def both_held_by(self, roles: dict[str, tuple[str, ...]]) -> dict[str, float]:
        """The same of several roles, watched at once: none is looked at only when another has been replaced."""
        with ThreadPoolExecutor(len(roles)) as pool:
            seen = {role: pool.submit(self.held_by, role, *names) for role, names in roles.items()}
            return {role: when.result() for role, when in seen.items()}

    def stop(self) -> dict[str, int]:
        """Ask all to stop; their exit statuses."""
        for worker in self.workers.values():
            worker.process.terminate()
        return {name: worker.process.wait(25) for name, worker in self.workers.items()}

    def end(self) -> None:
        for worker in self.workers.values():
            worker.end()
        self.balancer.close()


@pytest.fixture
def city(tmp_path: Path, tmp_postgres: Any, database_server: str, django_db_setup: None) -> Iterator[City]:
    name = f"cluster_{os.getpid()}"
    copy_schema(databases.make_database(database_server, name), tmp_postgres.url)
    with psycopg.connect(database_server, autocommit=True) as db:
        databases.drop_database(db, name)
    nats = NatsCluster(tmp_path)
    found = City(tmp_path, nats, tmp_postgres)
    yield found
    found.end()
    nats.stop()


def wait_until_up(city: City) -> None:
    """Every lane taken up, the queue of MQTT too: what is sent from then on is kept."""
    deadline = time.monotonic() + 180
    while not all(worker.is_up() for worker in city.workers.values()):
        for worker in city.workers.values():
            assert worker.process.poll() is None, worker.log()
        assert time.monotonic() < deadline, "\n".join(worker.log() for worker in city.workers.values())
        time.sleep(0.2)
    city.held_by("judge", "j1", "j2", "j3")
    city.held_by("historian", "h1", "h2")

    async def consumer_made(client: Any) -> bool:
        try:
            return bool(await client.jetstream().consumers_info(streams.MQTT))
        except Exception:
            return False

    while not city.nats.ask(consumer_made):
        assert time.monotonic() < deadline, city["g1"].log() + city["g2"].log()
        time.sleep(0.2)


def fire(city: City, sent: story.Sent, kind: int, at_ms: int) -> None:
    """A detector of the site says that it burns, until it is answered."""
    unit = {"sys_type": 1, "sys_addr": 1, "comp_type": kind, "comp_addr": 17, "status": 2, "desc": ""}
    frame = gb26875.send(SITE, story.CENTRE, kind, 2, [{**unit, "time": story.local_from_ms(at_ms)}], at_ms)
    readings = gb26875.readings(gb26875.parse(frame), at_ms)
    sent.good("gb26875", SITE, readings, int(time.time() * 1000))

    async def told() -> None:
        terminal = story.Terminal(city.device_port, SITE, timeout_s=3)
        await terminal.exchange(frame)
        terminal.close()

    asyncio.run(told())


def recorded(postgres: Any, rule: str, point: int) -> list[list[dict[str, Any]]]:
    """The parts of each alarm of a rule at a point."""
    with psycopg.connect(postgres.url) as db:
        rows = db.execute("SELECT parts FROM monitoring_alarm WHERE rule = %s AND point_id = %s", [rule, point])
        return [parts for (parts,) in rows]


def site_burns(city: City, sent: story.Sent, postgres: Any) -> tuple[str, float]:
    """Smoke is told; the judge whose alarm it is is killed; heat is told. Which judge, and when."""
    smoke_ms = int(time.time()) * 1000 - 20_000
    fire(city, sent, SMOKE, smoke_ms)
    deadline = time.monotonic() + 30
    smoke = sent.of_fire[SITE, f"sys1.{SMOKE}.17.status"]
    while not recorded(postgres, "smart_fire.smoke_fire", smoke):
        assert time.monotonic() < deadline, "the smoke alarm was not recorded"
        time.sleep(0.05)
    lane = int(sent.registry.partition[smoke]) * LANES // 64
    holder = city.nats.ask(lambda client: holdings(client, "judge"))[lane]
    city[holder].kill()
    killed = time.monotonic()
    fire(city, sent, HEAT, smoke_ms + 5_000)
    return holder, killed


def trouble(city: City, sent: story.Sent, postgres: Any) -> dict[str, float]:
    """What befalls them, and how long each took to be replaced."""
    took: dict[str, float] = {}
    j1, began = site_burns(city, sent, postgres)
    j2, j3 = sorted({"j1", "j2", "j3"} - {j1})
    city["h1"].pause()  # a historian with rows in hand
    paused = time.monotonic()
    both = city.both_held_by({"judge": (j2, j3), "historian": ("h2",)})
    took["judge killed"], took["historian paused"] = both["judge"] - began, both["historian"] - paused
    city["h1"].wake()
    city[j1].start()
    city.held_by("historian", "h1", "h2")
    city.held_by("judge", "j1", "j2", "j3")

    began = time.monotonic()
    city[j2].links.cut()
    city["h2"].kill()
    city["g1"].pause()
    both = city.both_held_by({"judge": (j1, j3), "historian": ("h1",)})
    took["judge cut off"], took["historian killed"] = both["judge"] - began, both["historian"] - began
    city[j2].links.heal()
    city["g1"].wake()
    city["h2"].start()

    city["g2"].kill()
    city.held_by("judge", "j1", "j2", "j3")
    began = time.monotonic()
    city[j3].pause()
    city["g2"].start()
    took["judge paused"] = city.held_by("judge", j1, j2) - began
    city[j3].wake()

    leader = city.nats.ask(log_leader)
    city.nats.kill(leader)
    time.sleep(1)
    city.nats.start(leader)
    city.nats.processes[(leader + 1) % 3].send_signal(signal.SIGSTOP)  # it keeps its connections and says nothing
    time.sleep(5)
    city.nats.processes[(leader + 1) % 3].send_signal(signal.SIGCONT)
    return took


async def log_leader(client: Any) -> int:
    info = await client.jetstream().stream_info(streams.READINGS)
    return int(info.cluster.leader.removeprefix("n"))


async def refused(client: Any) -> dict[str, int]:
    """Refused in all by reason, as all writers together tell it."""
    found: dict[str, int] = {}
    for source in SOURCES:
        head = await head_of(client.jetstream(), streams.READINGS, streams.readings_subject(0, source))
        for reason, count in json.loads(head.headers.get(REFUSED, "{}")).items():
            found[reason] = found.get(reason, 0) + count
    return found


@pytest.mark.timeout(600)
def test_machines_that_die_are_cut_off_or_wake_up_lose_and_double_nothing(
    city: City, tmp_postgres: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(story, "PACE_S", PACE_S)
    running = Running(city.folder, postgres=tmp_postgres, nats=SimpleNamespace(url="", mqtt_url=""), **city.env)
    words = f"DETECTORS, PANELS, CLOUD, SITES = {story.DETECTORS!r}, {story.PANELS!r}, [], [{SITE!r}]\n"
    sent = story.Sent(json.loads(running.command("shell", "-c", words + story.PREPARE).partition("FACTS")[2]))
    city.start()
    clock = [time.monotonic()]
    wait_until_up(city)
    clock.append(time.monotonic())

    began_ms = (int(time.time()) - story.MESSAGES * story.STEP_MS // 1000 - 60) * 1000
    ports = {"gb26875": city.device_port, "mqtt": city.front_port}
    threads, faults = story.senders(city.mqtt, ports, sent, began_ms)
    took = trouble(city, sent, tmp_postgres)
    told_by_then = sum(map(len, sent.rows.values()))
    clock.append(time.monotonic())
    for thread in threads:
        thread.join(90)
    assert not faults, faults
    clock.append(time.monotonic())
    settled(city, sent, tmp_postgres)
    clock.append(time.monotonic())
    wait_until_up(city)  # on a busy machine one may still be starting again
    told = {one.name: one for one in asyncio.run(health.broker(city.nats.url))}
    ended = city.stop()
    clock.append(time.monotonic())
    print("start, trouble, senders, settling, stop, s:", [round(b - a, 1) for a, b in itertools.pairwise(clock)])
    print("readings sent when the trouble was over, in all:", told_by_then, sum(map(len, sent.rows.values())))
    print("replaced after, s:", {what: round(seconds, 1) for what, seconds in took.items()})
    assert ended == dict.fromkeys(city.workers, 0)
    assert max(took.values()) < PROMISED_S, took

    found, _ = History(city.history).rows_since(0)
    stored = sorted(zip(found.point.tolist(), found.ts.tolist(), found.value.tolist(), strict=True))
    assert len({row[:2] for row in stored}) == len(stored), "a reading is in history twice"
    assert stored == sorted(row[:3] for rows in sent.rows.values() for row in rows)
    assert city.nats.ask(refused) == dict(sent.refused)
    story.alarms_as_undisturbed(running, sent)
    smoke, heat = (sent.of_fire[SITE, f"sys1.{kind}.17.status"] for kind in (SMOKE, HEAT))
    (parts,) = recorded(tmp_postgres, "smart_fire.two_signals_fire", heat)
    of_parts = {"smart_fire.smoke_fire": smoke, "smart_fire.heat_or_button_fire": heat}
    assert {part["rule"]: int(part["point"]) for part in parts} == of_parts
    readings = told["stream READINGS"].data
    assert {readings["leader"], *readings["copies"]} == {"n0", "n1", "n2"}
    for role, names in (("judge", ["j1", "j2", "j3"]), ("historian", ["h1", "h2"])):
        assert told[f"lanes {role}"].ok, told[f"lanes {role}"].detail
        assert list(told[f"lanes {role}"].data["holders"]) == names


def settled(city: City, sent: story.Sent, postgres: Any) -> None:
    """Wait until everything has been stored, judged and counted."""
    history, wanted = History(city.history), sum(map(len, sent.rows.values()))
    alarms = sent.alarms()
    ends = (len(alarms), sum(one[4] is not None for one in alarms.values()))
    deadline = time.monotonic() + 60
    while True:
        stored = len(history.rows_since(0)[0])
        with psycopg.connect(postgres.url) as db:
            found = db.execute(f"SELECT count(*), count(cleared_at) FROM {story.SAID}").fetchone()
        totals = city.nats.ask(refused)
        if stored >= wanted and found == ends and sum(totals.values()) >= sum(sent.refused.values()):
            return
        if time.monotonic() > deadline:
            logs = "\n".join(worker.log() for worker in city.workers.values())
            pytest.fail(
                f"after a minute: {stored} of {wanted} readings stored, alarms {found} of {ends}, "
                f"refused {totals} of {sent.refused}\n{logs}"
            )
        time.sleep(0.5)
