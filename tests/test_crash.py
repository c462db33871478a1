"""Twenty kills during a counted replay: nothing acknowledged is lost, nothing doubled, every alarm as it should be.

Devices send over MQTT (QoS 1), over GB/T 26875.3 and over HTTP until they are answered, while judge, gateway,
historian, worker, NATS and PostgreSQL are killed at random moments. Then every reading is in history once or was
refused and counted once, and the alarms are those that one undisturbed judge gives, each told once.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import random
import socket
import threading
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from tests.support import databases
from tests.support.live import Running, copy_schema

from zhenan.server import embedded
from zhenan.telemetry.codecs import gb26875, mqtt_json
from zhenan.telemetry.codecs.base import Reading, local_from_ms
from zhenan.telemetry.columns import Columns
from zhenan.telemetry.gateway.intake import REFUSED
from zhenan.telemetry.gateway.registry import Device, Registry, map_readings
from zhenan.telemetry.history.table import History
from zhenan.telemetry.judge.composites import Composer, Composite
from zhenan.telemetry.judge.engine import Judge
from zhenan.telemetry.judge.ids import alarm_id
from zhenan.telemetry.judge.rulefile import rules_from
from zhenan.telemetry.log import streams
from zhenan.telemetry.log.chain import head_of
from zhenan.telemetry.log.connect import connect
from zhenan.telemetry.tests.gateway_support import CENTRE, Terminal, front_of, mqtt_client

KILLS = 20
VICTIMS = ("judge", "gateway", "historian", "worker", "nats", "postgres")
STEP_MS = 10_000
MESSAGES = 110  # a device
PACE_S = 0.2
DETECTORS = [f"GD{n}" for n in range(1, 5)]
CLOUD = [f"HD{n}" for n in range(1, 3)]  # whose maker's cloud sends their readings over HTTP, many at a time
BODIES, ROWS_A_BODY = 60, 30
PANELS = [f"0000000003e{n}" for n in range(1, 4)]
STRANGER, STRANGE_PANEL = "nobody", "0000000009ff"

PREPARE = """
import dataclasses, itertools, json, sys
from datetime import UTC, datetime
from zhenan.domains.monitoring import keys, queries
from zhenan.domains.monitoring.devices import register_device
from zhenan.domains.register.models import Subject
from zhenan.kernel.territory.models import Division
from zhenan.packkit.sync import sync_packs

sync_packs()
town = Division.objects.create(code="321181000", name="town", level=4, path="321181000/")
now = datetime.now(UTC)

numbers = itertools.count(5, 9)  # a subject's id decides the lane of what its devices report: spread them

def subject(kind, key):
    return Subject.objects.create(
        pk=next(numbers), type=kind, programme=kind.partition(".")[0], key=key, name=key, division=town
    )

def device(model, key, at, **more):
    return register_device(subject=at, model=model, key=key, name=key, by=None, at=now, **more)

for key in (*DETECTORS, *CLOUD):
    device("catering_gas.gas_detector", key, subject("catering_gas.caterer", "C" + key))
for key in PANELS:
    site = subject("smart_fire.site", "S" + key)
    panel = device("smart_fire.transmission_device", key, site)
    device("smart_fire.smoke_detector", key + "-1", site, parent=panel, channels=["sys1.40.17.status"])
    device("smart_fire.smart_electricity", key + "-2", site, parent=panel, channels=["sys1.17.5.a9", "sys1.18.5.a3"])
for key in SITES:  # where smoke and heat are told by devices of their own, and both together are an alarm too
    site = subject("smart_fire.site", "S" + key)
    panel = device("smart_fire.transmission_device", key, site)
    device("smart_fire.smoke_detector", key + "-1", site, parent=panel, channels=["sys1.40.17.status"])
    device("smart_fire.heat_detector", key + "-2", site, parent=panel, channels=["sys1.31.17.status"])
_, token = keys.make_key(name="cloud", division=town, readings_per_s=100000, burst=100000, by=None, at=now)
setup = queries.judge_setup()
looking = [setup.groups.rules[group] for group in setup.groups.of]
points_of = [[key for key, rules in zip(setup.points, looking) if n in rules] for n in range(len(setup.rules))]
print("FACTS" + json.dumps({
    "token": token,
    "points": [dataclasses.asdict(row) for row in queries.gateway_points()],
    "rules": [
        {**rule.model_dump(mode="json", by_alias=True, exclude_none=True), "points": points}
        for rule, points in zip(setup.rules, points_of)
    ],
    "composites": [rule.model_dump(mode="json") for rule in setup.composites],
    "subjects": setup.subjects,
}))
"""


class Sent:
    """What the devices were told was taken, as it should be found again."""

    def __init__(self, facts: dict[str, Any]) -> None:
        self.registry = Registry(SimpleNamespace(**row) for row in facts["points"])
        self.rules = rules_from({"rules": facts["rules"]})
        self.composites = [Composite.model_validate(one) for one in facts["composites"]]
        self.subjects = facts["subjects"]
        self.token = str(facts["token"])
        self.points = [str(row["point_id"]) for row in facts["points"]]
        self.of_fire = {
            (row["device_key"], row["channel"]): row["point_id"] for row in facts["points"] if row["bit"] == 1
        }
        self.rows: dict[str, list[tuple[int, int, float, int]]] = {}  # by device, in the order sent
        self.refused: Counter[str] = Counter()
        self._lock = threading.Lock()

    def good(self, protocol: str, key: str, readings: list[Any], now_ms: int) -> None:
        device = self.registry.find(protocol, key)
        assert isinstance(device, Device)
        mapped = map_readings(device, readings, now_ms)
        assert not mapped.unmapped
        with self._lock:
            self.rows.setdefault(key, []).extend(
                zip(mapped.rows.point, mapped.rows.ts, mapped.rows.value, mapped.rows.quality, strict=True)
            )
            if mapped.future:
                self.refused["future"] += len(mapped.future)

    def bad(self, reason: str, count: int) -> None:
        with self._lock:
            self.refused[reason] += count

    def alarms(self) -> dict[str, tuple[int, str, int, int, int | None]]:
        """id → (point, rule, onset, raised, cleared) as one judge gives them that nobody disturbs."""
        judge = Judge(self.rules, self.points)
        number = {int(key): n for n, key in enumerate(judge.keys)}
        rows = [row for rows in self.rows.values() for row in rows]
        result = judge.judge(Columns.of([number[r[0]] for r in rows], *list(zip(*rows, strict=True))[1:]))
        found: dict[str, tuple[int, str, int, int, int | None]] = {}
        inorder = sorted(judge.records(result.transitions), key=lambda t: t.ts)
        for t in Composer(self.composites, self.subjects).feed(inorder):
            key = str(alarm_id(t.point, t.rule, t.onset))
            if t.kind == "raise":
                found[key] = (int(t.point), t.rule, t.onset, t.ts, None)
            else:
                found[key] = (*found[key][:4], t.ts)
        return found


def detector(nats: Any, sent: Sent, key: str, began_ms: int) -> None:
    """A gas detector: gas rises and falls over and over; now and then its clock is an hour ahead for one sample."""
    rng = random.Random(key)
    client = mqtt_client(nats, key, clean=False)
    for n in range(MESSAGES):
        lel = max(0.0, 30 * (1 + rng.uniform(-0.2, 0.2)) * (n % 14 - 5)) if n % 14 > 5 else rng.uniform(0, 5)
        samples = [{"ts": began_ms + n * STEP_MS, "values": {"lel": min(lel, 99.0), "co": rng.uniform(0, 300)}}]
        if n % 20 == 10:
            samples.append({"ts": began_ms + 8 * 3_600_000 + n, "values": {"lel": 1.0}})
        payload = json.dumps(samples).encode()
        tell(client, f"d/{key}/up/telemetry", payload)
        sent.good("mqtt_json", key, mqtt_json.decode(payload, began_ms).readings, int(time.time() * 1000))
        time.sleep(PACE_S)
    client.disconnect()


def cloud(port: int, sent: Sent, key: str, began_ms: int) -> None:
    """A maker's cloud: many readings a body, sent with its key until it is answered; some rows are no good."""
    rng = random.Random(key)
    for n in range(BODIES):
        rows = [
            {
                "d": key,
                "m": "lel",
                "t": began_ms + (n * ROWS_A_BODY + k) * 500,
                "v": rng.choice((1.5, 2.0, 30.0, 61.5)),
            }
            for k in range(ROWS_A_BODY)
        ]
        said = [Reading(key, row["m"], row["t"], row["v"], 0) for row in rows]
        sent.good("mqtt_json", key, said, int(time.time() * 1000))
        sent.bad("unknown_device", 1)
        sent.bad("malformed_body", 1)
        body = json.dumps([*rows, {"d": STRANGER, "m": "lel", "v": 1}, {"d": key, "m": "lel", "v": None}])
        post(port, sent.token, f"{key}-{n}", body.encode(), ROWS_A_BODY)
        time.sleep(PACE_S)


def post(port: int, token: str, once: str, body: bytes, taken: int) -> None:
    """Send until the answer is yes, which must say the same however often it was sent."""
    headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": once}
    deadline = time.monotonic() + 60
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=3)
        try:
            connection.request("POST", "/ingest/json", body, headers)
            answer = connection.getresponse()
            found = json.loads(answer.read())
        except (OSError, http.client.HTTPException, ValueError):
            found = None
        finally:
            connection.close()
        if found is not None and answer.status == 200:
            assert (found["taken"], found["refused"]) == (taken, 2)
            return
        assert time.monotonic() < deadline, f"body {once} was never taken: {found}"
        time.sleep(0.05)


def stranger(nats: Any, sent: Sent, began_ms: int) -> None:
    """A device that nobody registered, and one that does not speak JSON."""
    client = mqtt_client(nats, STRANGER, clean=False)
    for n in range(30):
        payload = json.dumps({"ts": began_ms + n * STEP_MS, "values": {"lel": 1.0, "co": 2.0}})
        tell(client, f"d/{STRANGER}/up/telemetry", payload)
        tell(client, f"d/{DETECTORS[0]}/up/telemetry", b"{not json %d" % n)
        sent.bad("unknown_device", 2)
        sent.bad("malformed", 1)
        time.sleep(PACE_S * 4)
    client.disconnect()


def tell(client: Any, topic: str, payload: str | bytes) -> None:
    """Publish and wait for PUBACK: the client sends it again after each reconnect, and nothing else before it."""
    mid = client.publish(topic, payload, qos=1).mid
    deadline = time.monotonic() + 60
    while mid not in client.acknowledged:
        assert time.monotonic() < deadline, f"message {mid} was never acknowledged"
        time.sleep(0.01)


def leakage(rng: random.Random, n: int) -> int:
    """Leakage current in tenths of what the model reports: high for eight readings of forty."""
    return rng.randrange(28, 65) if n % 40 < 8 else rng.randrange(0, 20)


async def panel(port: int, sent: Sent, key: str, began_ms: int, *, known: bool = True) -> None:
    """A transmission device: leakage current, and now and then the state of a smoke detector."""
    rng = random.Random(key)
    terminal = Terminal(port, key, timeout_s=3)
    for n in range(MESSAGES if known else 30):
        at = began_ms + n * STEP_MS
        where = {"sys_type": 1, "sys_addr": 1, "time": local_from_ms(at)}
        kind, unit = 3, {**where, "comp_type": 17, "comp_addr": 5, "analog_type": 9, "raw": leakage(rng, n)}
        if n % 5 == 4:
            kind, unit = 2, {**where, "comp_type": 40, "comp_addr": 17, "status": rng.choice((0, 2, 4)), "desc": ""}
        frame = gb26875.send(key, CENTRE, n + 1, kind, [unit], at)
        readings = gb26875.readings(gb26875.parse(frame), began_ms)
        if known:
            sent.good("gb26875", key, readings, int(time.time() * 1000))
        else:
            sent.bad("unknown_device", len(readings))
        await terminal.exchange(frame)
        await asyncio.sleep(PACE_S if known else PACE_S * 4)
    terminal.close()


def senders(
    nats: Any, ports: dict[str, int], sent: Sent, began_ms: int
) -> tuple[list[threading.Thread], list[BaseException]]:
    """All devices, each in a thread of its own; what went wrong in any of them."""
    faults: list[BaseException] = []

    def guarded(do: Any, *given: Any) -> None:
        try:
            do(*given)
        except BaseException as err:
            faults.append(err)

    async def panels() -> None:
        port = ports["gb26875"]
        strange = panel(port, sent, STRANGE_PANEL, began_ms, known=False)
        await asyncio.gather(strange, *(panel(port, sent, key, began_ms) for key in PANELS))

    front = front_of(nats, ports["mqtt"])  # those whom nobody knows come to the broker itself
    jobs: list[tuple[Any, ...]] = [(detector, front, sent, key, began_ms) for key in DETECTORS]
    jobs += [(cloud, ports["http"], sent, key, began_ms) for key in CLOUD if "http" in ports]
    jobs += [(stranger, nats, sent, began_ms), (lambda: asyncio.run(panels()),)]
    threads = [threading.Thread(target=guarded, args=job, daemon=True) for job in jobs]
    for thread in threads:
        thread.start()
    return threads, faults


@pytest.fixture
def running(tmp_path: Path, tmp_nats: Any, tmp_postgres: Any, database_server: str, django_db_setup: None) -> Any:
    name = f"crash_{os.getpid()}"
    copy_schema(databases.make_database(database_server, name), tmp_postgres.url)
    with psycopg.connect(database_server, autocommit=True) as db:
        databases.drop_database(db, name)
    found = Running(tmp_path, postgres=tmp_postgres, nats=tmp_nats, ZHENAN_HISTORY_SECONDS="1", ZHENAN_LOG_LANES="2")
    yield found
    found.end()


def kill_at_random(running: Running, seed: int) -> Counter[str]:
    """Twenty kills, each victim at least twice, at moments a second apart on average."""
    rng = random.Random(seed)
    order = [*VICTIMS * 2, *rng.choices(VICTIMS, k=KILLS - 2 * len(VICTIMS))]
    rng.shuffle(order)
    for victim in order:
        time.sleep(rng.uniform(0.2, 1.8))
        running.kill(victim)
    return Counter(order)


async def refusals_told(url: str) -> tuple[dict[str, int], int]:
    """(refused in all by reason, last sequence of the readings log)."""
    client = await connect(url, "test")
    js = client.jetstream()
    head = await head_of(js, streams.READINGS, streams.readings_subject(0, "gateway"))
    last = (await js.stream_info(streams.READINGS)).state.last_seq
    await client.close()
    return json.loads(head.headers.get(REFUSED, "{}")), last


def settled(running: Running, sent: Sent) -> None:
    """Wait until every process has done what there is to do."""
    history, wanted = History(running.env["HISTORY_URL"]), sum(map(len, sent.rows.values()))
    deadline = time.monotonic() + 60
    while True:
        stored = len(history.rows_since(0)[0])
        totals, last = asyncio.run(refusals_told(running.nats.url))
        judged = running.health("judge").get("sequence", 0)
        if stored >= wanted and judged >= last and sum(totals.values()) >= sum(sent.refused.values()):
            return
        if time.monotonic() > deadline:
            logs = "\n".join(running.log(name) for name in ("gateway", "judge", "historian"))
            pytest.fail(
                f"after a minute: {stored} of {wanted} readings stored, judged up to {judged} of {last}, "
                f"refused {totals} of {sent.refused}\n{logs}"
            )
        time.sleep(0.3)


@pytest.mark.timeout(240)
def test_twenty_kills_lose_and_double_nothing(running: Running) -> None:
    words = f"DETECTORS, PANELS, CLOUD, SITES = {DETECTORS!r}, {PANELS!r}, {CLOUD!r}, []\n"
    printed = running.command("shell", "-c", words + PREPARE)
    sent = Sent(json.loads(printed.partition("FACTS")[2]))
    ports = {name: embedded.free_port(0) for name in ("gb26875", "http", "mqtt")} | {"jt808": 0, "hj212": 0}
    given = [word for name, port in ports.items() for word in (f"--{name}-port", str(port))]
    running.start("gateway", "--host", "127.0.0.1", *given)
    running.start("judge")
    running.start("historian")
    running.start("worker")
    ready(running, ports["mqtt"])

    began_ms = (int(time.time()) - MESSAGES * STEP_MS // 1000 - 60) * 1000
    threads, faults = senders(running.nats, ports, sent, began_ms)
    kills = kill_at_random(running, seed=20261123)
    for thread in threads:
        thread.join(90)
    assert not faults, faults
    assert (sum(kills.values()), set(kills)) == (KILLS, set(VICTIMS))
    settled(running, sent)
    ended = running.stop()
    assert {name: ended[name] for name in ("gateway", "judge", "historian")} == {
        "gateway": 0,
        "judge": 0,
        "historian": 0,
    }

    nothing_lost_nothing_doubled(running, sent)
    alarms_as_undisturbed(running, sent)


def ready(running: Running, port: int) -> None:
    """Wait until the gateway has made its place in the MQTT queue, what is sent from then on is kept for it, and until
    it listens for MQTT itself."""
    deadline = time.monotonic() + 40
    while not all(running.health(name) for name in ("gateway", "judge", "historian")):
        assert time.monotonic() < deadline, running.log("gateway")
        time.sleep(0.1)

    async def consumer_made() -> bool:
        client = await connect(running.nats.url, "test")
        try:
            return bool(await client.jetstream().consumers_info(streams.MQTT))
        except Exception:
            return False
        finally:
            await client.close()

    def listens() -> bool:
        with socket.socket() as one:
            return one.connect_ex(("127.0.0.1", port)) == 0

    while not (asyncio.run(consumer_made()) and listens()):
        assert time.monotonic() < deadline, running.log("gateway")
        time.sleep(0.1)


def nothing_lost_nothing_doubled(running: Running, sent: Sent) -> None:
    found, _ = History(running.env["HISTORY_URL"]).rows_since(0)
    stored = sorted(zip(found.point.tolist(), found.ts.tolist(), found.value.tolist(), strict=True))
    assert len({row[:2] for row in stored}) == len(stored), "a reading is in history twice"
    assert stored == sorted(row[:3] for rows in sent.rows.values() for row in rows)
    totals, _ = asyncio.run(refusals_told(running.nats.url))
    assert totals == dict(sent.refused)
    kept = dict(running.rows("SELECT reason, count(*) FROM monitoring_quarantinedframe GROUP BY reason"))
    assert set(kept) == set(sent.refused)


# What the judge said, a row each: in the stages (those of one leak are one alarm), and in alarms that have none.
SAID = """(
    SELECT id, point_id, rule, onset, raised_at, cleared_at FROM monitoring_alarmstage
    UNION ALL
    SELECT id, point_id, rule, onset, raised_at, cleared_at FROM monitoring_alarm a
    WHERE NOT EXISTS (SELECT 1 FROM monitoring_alarmstage s WHERE s.alarm_id = a.id)
) AS said"""


def alarms_as_undisturbed(running: Running, sent: Sent) -> None:
    def ms(moment: datetime | None) -> int | None:
        return None if moment is None else round(moment.astimezone(UTC).timestamp() * 1000)

    rows = running.rows(f"SELECT id, point_id, rule, onset, raised_at, cleared_at FROM {SAID}")
    found = {str(row[0]): (row[1], row[2], ms(row[3]), ms(row[4]), ms(row[5])) for row in rows}
    wanted = sent.alarms()
    assert len(wanted) > 40  # else the test shows little
    assert found == wanted
    told = running.rows("SELECT targets[1], count(*) FROM events_event WHERE kind = 'alarm.raised' GROUP BY 1")
    ((alarms,),) = running.rows("SELECT count(*) FROM monitoring_alarm")
    assert sorted(count for _, count in told) == [1] * alarms
