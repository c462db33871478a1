"""`zhenan doctor`: what is running, versions, lag, disk, migrations, packs, clock. Exit status 0 when all is well."""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import django
import psutil
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from zhenan import __version__
from zhenan.server import config, health, prepare
from zhenan.server.health import Finding

LEAST_FREE_GB = 2
CLOCK_S = 2
STATUS_FRESH_S = 30


def findings() -> list[Finding]:
    """Everything looked at, in reading order."""
    base = health.database()
    found = [versions(), *processes(), gaps(), pages(), base]
    if base.ok:
        found += [migrations(), packs(), clock()]
    found += asyncio.run(health.broker(config.engines().nats_url))
    return [*found, mqtt(), disk(), front_end()]


def versions() -> Finding:
    data = {"zhenan": __version__, "python": platform.python_version(), "django": django.get_version()}
    return Finding("versions", True, ", ".join(f"{name} {version}" for name, version in data.items()), data)


def processes() -> Iterator[Finding]:
    """The supervisor and each of its children, from the status file it writes every two seconds."""
    path = config.data_dir() / "run" / "status.json"
    try:
        status = json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        yield Finding("supervisor", False, "not running on this data folder; start it with ./run or `zhenan up`")
        return
    age = time.time() - status["at"]
    alive = psutil.pid_exists(status["pid"]) and age < STATUS_FRESH_S
    since = datetime.fromtimestamp(status["began"], UTC).isoformat(timespec="seconds")
    detail = f"process {status['pid']}, since {since}" if alive else f"its last sign is {age:.0f} s old; start it again"
    yield Finding("supervisor", alive, detail)
    for name, known in status["processes"].items():
        yield _process(name, known)


def _process(name: str, known: dict[str, Any]) -> Finding:
    running = known["state"] == "running" and psutil.pid_exists(known["pid"])
    again = f", started again {known['restarts']} times" if known["restarts"] else ""
    if running:
        megabytes = round(psutil.Process(known["pid"]).memory_info().rss / 1e6)
        return Finding(f"process {name}", True, f"running as {known['pid']}, {megabytes} MB{again}", known)
    ok = None if known["state"] == "absent" else False
    words = (
        "not part of this installation"
        if ok is None
        else f"{known['state']}, last exit status {known['last_exit']}{again}"
    )
    return Finding(f"process {name}", ok, words, known)


def gaps() -> Finding:
    """Whether the log reached back far enough for each reader of this data folder, from what it says of itself."""
    told: dict[str, int] = {}
    for path in sorted((config.data_dir() / "run").glob("*.health.json")):
        try:
            known = json.loads(path.read_text("utf-8"))
        except (FileNotFoundError, ValueError):
            continue
        if "gaps" in known:
            told[path.name.removesuffix(".health.json")] = int(known["gaps"])
    if not told:
        return Finding("log read whole", None, "no reader of the log has run on this data folder")
    missed = [f"{name} missed {count} messages or more" for name, count in told.items() if count]
    words = "; ".join(missed) + ": they were older than the log reaches back (ZHENAN_LOG_MB, ZHENAN_LOG_HOURS)"
    return Finding("log read whole", not missed, words if missed else f"by {', '.join(told)}", told)


def pages() -> Finding:
    """The web process answers at the address the supervisor gave."""
    try:
        running = json.loads(config.engines_file().read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        running = {}
    address = os.environ.get("ZHENAN_WEB_URL") or running.get("web_url", "")
    if not address:
        return Finding("pages", False, "no address: nothing is running here, and ZHENAN_WEB_URL is not set")
    parts, started = urlsplit(address), time.perf_counter()
    asked = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=5)
    try:
        asked.request("GET", "/healthz")
        status = asked.getresponse().status
    except (OSError, http.client.HTTPException) as err:
        return Finding("pages", False, f"{address} does not answer: {err}")
    finally:
        asked.close()
    ms = round((time.perf_counter() - started) * 1000)
    return Finding("pages", status == 200, f"{address} answers {status} in {ms} ms", {"status": status, "ms": ms})


def migrations() -> Finding:
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    missing = [f"{migration.app_label}.{migration.name}" for migration, _ in plan]
    detail = "all applied" if not missing else f"{len(missing)} not applied ({missing[0]} …); run `zhenan migrate`"
    return Finding("migrations", not missing, detail, {"missing": missing})


def packs() -> Finding:
    """Whether the packs' files are those that were synced last (remembered for the embedded database alone)."""
    if prepare.memory() is None:
        return Finding("packs", None, "not known for a database of your own; `zhenan packs sync` is safe to repeat")
    current = prepare.packs_fingerprint()
    synced = prepare.remembered().get("packs") == current
    return Finding("packs", synced, "synced" if synced else "changed since the last sync; run `zhenan packs sync`")


def clock() -> Finding:
    """This machine's clock against the database's: deadlines and late readings are judged by both."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT extract(epoch FROM clock_timestamp())")
            off = float(cursor.fetchone()[0]) - time.time()
    except DatabaseError as err:
        return Finding("clock", False, f"the database does not tell its time: {err}")
    return Finding("clock", abs(off) < CLOCK_S, f"{off:+.3f} s from the database's", {"off_s": round(off, 3)})


def mqtt() -> Finding:
    """The MQTT listener accepts connections."""
    url = settings.MQTT_URL
    if not url:
        return Finding("mqtt", None, "no address: MQTT_URL is not set")
    parts = urlsplit(url)
    where = f"{parts.hostname}:{parts.port or 1883}"
    try:
        asyncio.run(_touch(parts.hostname or "", parts.port or 1883))
    except OSError as err:
        return Finding("mqtt", False, f"{where} does not accept connections: {err}")
    return Finding("mqtt", True, f"listening at {where}")


async def _touch(host: str, port: int) -> None:
    async with asyncio.timeout(3):
        _, writer = await asyncio.open_connection(host, port)
        writer.close()


def disk() -> Finding:
    use = shutil.disk_usage(config.data_dir())
    free_gb = round(use.free / 1e9, 1)
    detail = f"{free_gb} GB free of {use.total / 1e9:.0f} under {config.data_dir()}"
    return Finding("disk", free_gb >= LEAST_FREE_GB, detail, {"free_gb": free_gb})


def front_end() -> Finding:
    """Front-end packages are where the pages look for them."""
    there = len(settings.STATICFILES_DIRS)
    ok = there == len(settings.FRONT_END)
    return Finding(
        "front-end packages", ok, f"{there} of {len(settings.FRONT_END)} present" + ("" if ok else "; run `npm ci`")
    )


def main(argv: list[str]) -> int:
    """Print the findings as a table or as JSON."""
    parser = argparse.ArgumentParser(prog="zhenan doctor", description=__doc__)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(argv)
    found = findings()
    well = all(one.ok is not False for one in found)
    if asked.json:
        listed = [
            {"name": one.name, "ok": one.ok, "detail": one.detail, **({"data": one.data} if one.data else {})}
            for one in found
        ]
        sys.stdout.write(json.dumps({"ok": well, "findings": listed}, ensure_ascii=False, indent=1) + "\n")
    else:
        sys.stdout.write(table(found) + "\n")
    return 0 if well else 1


def table(found: list[Finding]) -> str:
    """Aligned lines: mark, name, detail."""
    width = max(len(one.name) for one in found) + 2
    marks = {True: "ok", False: "FAIL", None: "-"}
    return "\n".join(f"{marks[one.ok]:<6}{one.name:<{width}}{one.detail}" for one in found)
