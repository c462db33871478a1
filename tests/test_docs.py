"""What the documentation says is so: its commands run, its packs are sound, its tables and links are complete.

Blocks marked ``bash run``, ``python run`` and ``yaml pack PATH`` are taken in the order of the page, in one temporary
folder a page; the lines of a following ``text expect`` block must be in what the command printed.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
BLOCK = re.compile(r"^```(?P<kind>[^\n`]+)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
INTERNAL = {"ZHENAN_REQUEST_ID"}  # a key of request.META, not a setting
RUNNERS = {"bash run": ["bash", "-eu"], "python run": [sys.executable, "-"]}


@dataclass(frozen=True)
class Block:
    kind: str
    body: str


def blocks_of(page: Path) -> list[Block]:
    return [Block(m["kind"].strip(), m["body"]) for m in BLOCK.finditer(page.read_text("utf-8"))]


def is_run(block: Block) -> bool:
    return block.kind in RUNNERS or block.kind.startswith("yaml pack ")


def with_zhenan(folder: Path) -> dict[str, str]:
    """The environment of a reader: the `zhenan` command on the path, a data folder of its own."""
    programs = folder / "bin"
    programs.mkdir()
    command = programs / "zhenan"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m zhenan.server.cli "$@"\n', "utf-8")
    command.chmod(0o755)
    paths = {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT / "src")}
    return {**os.environ, **paths, "ZHENAN_DATA": str(folder / "data")}


def follow(page: Path, folder: Path) -> None:
    """Do what the page says, block by block, in ``folder/work``."""
    work = folder / "work"
    work.mkdir()
    environment, printed = with_zhenan(folder), ""
    for block in blocks_of(page):
        if block.kind.startswith("yaml pack "):
            path = next(work.rglob(block.kind.removeprefix("yaml pack ").strip()))
            path.write_text(block.body, "utf-8")
        elif block.kind in RUNNERS:
            done = subprocess.run(
                RUNNERS[block.kind], input=block.body, cwd=work, env=environment, text=True, timeout=60,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )  # fmt: skip
            printed = done.stdout
            assert done.returncode == 0, f"{page.name}:\n{block.body}\nprinted:\n{printed}"
        elif block.kind == "text expect":
            missing = [line for line in block.body.splitlines() if line.strip() and line.strip() not in printed]
            assert not missing, f"{page.name}: not printed: {missing}; printed:\n{printed}"


@pytest.mark.parametrize("page", [p for p in PAGES if any(map(is_run, blocks_of(p)))], ids=lambda p: p.stem)
def test_the_commands_of_a_page_do_what_it_says(page, tmp_path):
    follow(page, tmp_path)


def test_there_is_something_to_run():
    kinds = {block.kind.split(" /")[0] for page in PAGES for block in blocks_of(page) if is_run(block)}
    assert "bash run" in kinds
    assert any(kind.startswith("yaml pack") for kind in kinds)


def test_the_tutorials_pack_is_synced_and_seen(personas, client, settings, tmp_path):
    from zhenan.packkit.sync import sync_packs

    follow(ROOT / "docs" / "packs.md", tmp_path)
    settings.PACK_DIRS = [*settings.PACK_DIRS, tmp_path / "work" / "my_packs"]
    sync_packs()
    client.force_login(personas["city_officer"], backend="django.contrib.auth.backends.ModelBackend")
    assert "加油站" in client.get("/subjects/new/").content.decode()
    assert client.get("/subjects/types/petrol_stations.station/").status_code == 200
    assert client.get("/subjects/new/?type=petrol_stations.station").status_code == 200
    assert client.get("/indicators/petrol_stations.stations/").status_code == 200


def settings_read() -> set[str]:
    """Names of settings in the product's code."""
    found: set[str] = set()
    for path in [*(ROOT / "src").rglob("*.py"), ROOT / "test"]:
        if "tests" not in path.parts:
            found |= set(re.findall(r"\b(ZHENAN_[A-Z0-9_]+[A-Z0-9]|DATABASE_URL|NATS_URL|MQTT_URL|HISTORY_URL)\b",
                                    path.read_text("utf-8")))  # fmt: skip
    return found


def test_every_setting_has_its_line_and_every_line_its_setting():
    from zhenan.server.processes.gateway import PORTS

    page = (ROOT / "docs" / "operators.md").read_text("utf-8")
    table = page.split("## Settings")[1].split("\n## ")[0]
    told = set(re.findall(r"`((?:ZHENAN_|DATABASE_|NATS_|MQTT_|HISTORY_)[A-Z0-9_]+)`", table))
    ports = {f"ZHENAN_{name.upper()}_PORT" for name in PORTS}  # made of the protocol's name
    assert settings_read() - told - INTERNAL == set(), "settings without a line in docs/operators.md"
    assert told - settings_read() - ports == set(), "lines about settings that nothing reads"


def test_links_lead_somewhere():
    broken = []
    for page in PAGES:
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
            path, _hash, anchor = target.partition("#")
            if "://" in target or not (path or anchor):
                continue
            file = (page.parent / path).resolve() if path else page
            if not file.exists():
                broken.append(f"{page.name}: {target}")
            elif anchor and file.suffix == ".md" and anchor not in anchors_of(file):
                broken.append(f"{page.name}: {target}: no such heading")
    assert not broken, "\n".join(broken)


def anchors_of(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


def test_every_address_of_the_api_page_exists():
    from tests.support.routes import operations

    from zhenan.telemetry.gateway.http import ROUTES

    known = {re.sub(r"{[^}]+}", "*", one.path) for one in operations()} | {"/api/docs", "/api/openapi.json", *ROUTES}
    page = (ROOT / "docs" / "api.md").read_text("utf-8")
    named = {re.sub(r"\$[A-Z]+", "*", path) for path in re.findall(r"/api/[^\s?\"`)]*", page)}
    assert named - known == set()
    assert len(named) > 5


def test_the_reference_of_packs_names_every_key():
    from zhenan.packkit import schema, schema_indicators, schema_scenarios

    entries: dict[str, Any] = {
        "the pack itself": schema.PackInfo, "`subject_types`": schema.SubjectType,
        "their `fields`": schema.SubjectField,
        "`device_models`": schema.DeviceModel, "their `channels`": schema.Channel, "`rules`": schema.AlarmRule,
        "`checklists`": schema.Checklist, "their `items`": schema.CheckItem, "`duties`": schema.Duty,
        "`indicators`": schema_indicators.Indicator, "`scenarios`": schema_scenarios.Scenario,
    }  # fmt: skip
    rows = [line.split("|") for line in (ROOT / "docs" / "packs.md").read_text("utf-8").splitlines() if "|" in line]
    told = {row[2].strip(): set(re.findall(r"`([a-z_]+)`", row[3])) for row in rows if len(row) >= 5}
    for words, model in entries.items():
        keys = {field.alias or name for name, field in model.model_fields.items()}
        assert told[words] == keys, words


def test_every_bench_and_every_command_is_described():
    from zhenan.server import bench, cli

    performance = (ROOT / "docs" / "performance.md").read_text("utf-8")
    assert [name for name in bench.names() if f"zhenan bench {name}" not in performance] == []
    pages = "\n".join(page.read_text("utf-8") for page in PAGES)
    asked = set(re.findall(r"`?zhenan ([a-z]+)\b", pages)) - {"user"} - set(cli.COMMANDS)
    assert asked <= {"migrate"}, f"commands that do not exist: {asked}"


def test_the_figures_are_filled_in():
    assert "FIGURES" not in (ROOT / "docs" / "performance.md").read_text("utf-8")
