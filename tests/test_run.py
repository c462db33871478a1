"""./run where the path has spaces and Chinese letters: a taken port, killed processes, a killed supervisor."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("run", "package.json", "package-lock.json", "pyproject.toml", "requirements", "src")


class Running:
    """A ./run of a copied checkout."""

    def __init__(self, checkout: Path, port: int) -> None:
        self.checkout, self.data = checkout, checkout / "数据"
        environment = {**os.environ, "ZHENAN_VENV": sys.prefix}
        for name in ("DATABASE_URL", "NATS_URL", "MQTT_URL", "HISTORY_URL", "ZHENAN_DATA", "DJANGO_SETTINGS_MODULE"):
            environment.pop(name, None)
        argv = [str(checkout / "run"), "--no-demo", "--port", str(port), "--data", str(self.data)]
        self.out = (checkout / "run.out").open("w+b")
        self.process = subprocess.Popen(argv, env=environment, stdout=self.out, stderr=self.out, start_new_session=True)

    def said(self) -> str:
        return (self.checkout / "run.out").read_text("utf-8")

    def wait_until_greeted(self, wait_s: float = 240) -> str:
        """The address that was printed."""
        deadline = time.monotonic() + wait_s
        while (found := re.search(r"running at (http://\S+)", self.said())) is None:
            assert self.process.poll() is None, f"./run ended with {self.process.returncode}:\n{self.said()}"
            assert time.monotonic() < deadline, f"./run did not get there in {wait_s} s:\n{self.said()}"
            time.sleep(0.1)
        return found[1]

    def child(self, name: str) -> psutil.Process:
        status = json.loads((self.data / "run" / "status.json").read_text("utf-8"))
        return psutil.Process(status["processes"][name]["pid"])

    def everything(self) -> list[psutil.Process]:
        """All processes of this checkout, whoever their parent is now."""
        return [p for p in psutil.process_iter(["cmdline", "environ"]) if self._is_ours(p) and p.pid != os.getpid()]

    def _is_ours(self, process: psutil.Process) -> bool:
        words = " ".join(process.info["cmdline"] or [])
        return str(self.checkout) in words or (process.info["environ"] or {}).get("ZHENAN_DATA") == str(self.data)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(40)
        for left in self.everything():
            left.kill()
        self.out.close()


@pytest.fixture
def checkout(open_folder: Path) -> Path:
    """A copy of what ./run needs; the environment and the front-end packages are those of this checkout."""
    copy = open_folder / "镇安 平台"
    copy.mkdir()
    for name in COPIED:
        source = ROOT / name
        ignored = shutil.ignore_patterns("__pycache__", "tests")
        shutil.copytree(source, copy / name, ignore=ignored) if source.is_dir() else shutil.copy2(source, copy / name)
    (copy / "node_modules").symlink_to(ROOT / "node_modules")
    return copy


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield holder.getsockname()[1]


def eventually(condition, wait_s: float = 60):
    deadline = time.monotonic() + wait_s
    while not (answer := condition()):
        assert time.monotonic() < deadline, "did not become true in time"
        time.sleep(0.1)
    return answer


def status_of(url: str) -> int:
    try:
        return urllib.request.urlopen(url, timeout=5).status
    except OSError:
        return 0


@pytest.mark.timeout(600)
def test_run_survives_what_happens_to_it(checkout, taken_port):
    running = Running(checkout, taken_port)
    try:
        address = running.wait_until_greeted()
        assert f"port {taken_port} is taken; using {taken_port + 1}" in running.said()
        assert status_of(address + "healthz") == 200

        for name in ("web", "postgres", "nats"):
            killed = running.child(name)
            killed.kill()
            eventually(lambda name=name: f"{name} was ended by signal 9" in running.said())
            eventually(lambda name=name: f"{name} is running again" in running.said())
        eventually(lambda: status_of(address + "healthz") == 200)
        logged = [json.loads(line) for line in (running.data / "logs" / "supervisor.log").read_text().splitlines()]
        assert ("process.died", "web", -9) in {(line["event"], line["process"], line["exit"]) for line in logged}

        again = subprocess.run(
            [str(checkout / "run"), "--no-demo", "--data", str(running.data)],
            env={**os.environ, "ZHENAN_VENV": sys.prefix},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert again.returncode == 1
        assert "already running on this data folder" in again.stderr

        running.process.kill()
        running.process.wait()
        eventually(lambda: running.everything() == [])
    finally:
        running.end()

    running = Running(checkout, taken_port)
    try:
        address = running.wait_until_greeted()
        assert status_of(address + "healthz") == 200
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(60) == 0
        assert running.everything() == []
    finally:
        running.end()


@pytest.mark.parametrize("arguments", [["--port", "eighty"], ["--scale", "-1"], ["--city", "x"]])
def test_a_wrong_argument_is_told_before_anything_is_set_up(checkout, arguments):
    argv = [str(checkout / "run"), *arguments]
    done = subprocess.run(
        argv, env={**os.environ, "ZHENAN_VENV": "/nonexistent"}, capture_output=True, text=True, timeout=20
    )
    assert done.returncode == 2
    assert arguments[0] in done.stderr
