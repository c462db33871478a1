"""`zhenan prepare`: bring the database up to this version; build the demo city when it is asked for.

Each step is skipped when what it depends on has not changed since it was last done on this embedded database cluster
(with DATABASE_URL set, nothing is remembered and every step runs; each is safe to repeat).
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from zhenan.server import config, messages
from zhenan.server.progress import say, step

SRC = Path(__file__).resolve().parents[1]
PINNED = config.ROOT / "requirements" / "base.txt"


@dataclass(frozen=True)
class Step:
    """A thing to do, the module it needs, and what it depends on (a changed fingerprint does it again)."""

    name: str
    words: str
    needs: str
    fingerprint: str
    do: Callable[[], object]


def fingerprint(paths: Iterable[Path], *more: str) -> str:
    """Changes when any of the files does."""
    digest = hashlib.sha256("\0".join(more).encode())
    for path in sorted(paths):
        if path.is_file():
            digest.update(str(path).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def pack_files() -> list[Path]:
    """All files of the platform's and the city's packs."""
    folders = [SRC / "packs", *(Path(name) for name in config.names("ZHENAN_PACK_DIRS", ""))]
    return [path for folder in folders for path in folder.rglob("*") if path.suffix in (".yaml", ".yml", ".py", ".csv")]


def packs_fingerprint() -> str:
    """Changes when a pack or the way packs are read does."""
    return fingerprint([*pack_files(), *(SRC / "packkit").glob("*.*")])


def steps(asked: argparse.Namespace) -> list[Step]:
    """All steps in order."""
    migrations = [*SRC.glob("**/migrations/*.py"), PINNED]
    territory = [*(SRC / "kernel" / "territory").glob("*.*"), PINNED]
    known = [
        Step("migrations", "database schema", "zhenan.server.settings", fingerprint(migrations), migrate),
        Step(
            "territory",
            "divisions and boundaries",
            "zhenan.kernel.territory.services",
            fingerprint(territory),
            load_territory,
        ),
        Step(
            "packs",
            "programme packs",
            "zhenan.packkit.commands",
            packs_fingerprint(),
            sync_packs,
        ),
    ]
    if asked.demo:
        arguments = ["--scale", asked.scale, "--seed", asked.seed]
        known.append(
            Step(
                "demo",
                f"demo city at scale {asked.scale}",
                "zhenan.server.demo",
                fingerprint([], *arguments),
                lambda: demo(arguments),
            )
        )
    return known


def migrate() -> None:
    from django.core.management import call_command

    call_command("migrate", verbosity=0, interactive=False)


def load_territory() -> None:
    from zhenan.kernel.territory.services import load_city

    load_city()


def sync_packs() -> None:
    from zhenan.server.cli import COMMANDS, load

    if load("packs", COMMANDS["packs"])(["sync"]):
        raise ValueError("packs: not all packs are sound; `zhenan packs check` lists every fault")


def demo(arguments: list[str]) -> None:
    from zhenan.server.cli import COMMANDS, load

    with contextlib.redirect_stdout(io.StringIO()):  # who may sign in is told when everything runs
        failed = load("demo", COMMANDS["demo"])(arguments)
    if failed:
        raise ValueError("the demo city could not be built")


def memory() -> Path | None:
    """Where finished steps are remembered: beside the embedded cluster, so that both are deleted together."""
    cluster = config.data_dir() / "postgres"
    return cluster / "prepared.json" if not os.environ.get("DATABASE_URL") and cluster.exists() else None


def remembered() -> dict[str, str]:
    """Finished steps with their fingerprints."""
    place = memory()
    try:
        found: dict[str, str] = json.loads(place.read_text("utf-8")) if place else {}
    except (FileNotFoundError, ValueError):
        return {}
    return found


def settle() -> None:
    """Wait until everything committed so far is on disk: a synchronous commit takes all earlier ones with it."""
    from django.db import connection, transaction

    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL synchronous_commit = on")
        cursor.execute("SELECT pg_current_xact_id()")


def remember(done: dict[str, str]) -> None:
    place = memory()
    if place:
        place.write_text(json.dumps(done), "utf-8")


def main(argv: list[str]) -> int:
    """Do what is missing, in order; a failing step stops the rest and is tried again the next time."""
    parser = argparse.ArgumentParser(prog="zhenan prepare")
    parser.add_argument("--demo", action="store_true")
    parser.add_argument("--scale", default="0.02")
    parser.add_argument("--seed", default="1")
    asked = parser.parse_args(argv)
    compiled = messages.compile_messages()
    if compiled:
        say(f"translations: {compiled} files compiled")
    done = remembered()
    missing = [one for one in steps(asked) if done.get(one.name) != one.fingerprint]
    if missing:
        # A set-up of many small commits need not wait for the disk at each; before a step is remembered, it does.
        os.environ["PGOPTIONS"] = f"{os.environ.get('PGOPTIONS', '')} -c synchronous_commit=off".strip()
        _set_up()
    for one in missing:
        if not _there(one.needs):
            say(f"{one.words}: not built in this installation, left out")
            continue
        with step(one.words):
            one.do()
        settle()
        done[one.name] = one.fingerprint
        remember(done)
    return 0


def territory_main(argv: list[str]) -> int:
    """`zhenan territory`: load divisions and boundaries now."""
    argparse.ArgumentParser(prog="zhenan territory").parse_args(argv)
    with step("divisions and boundaries"):
        load_territory()
    return 0


def _there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _set_up() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "zhenan.server.settings")
    import django

    django.setup()
