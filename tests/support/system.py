"""A whole running platform for one test: web, gateway, judge, historian, worker as real processes on real engines."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import paho.mqtt.client as paho
from django.db import connection

SRC = Path(__file__).resolve().parents[2] / "src"


def database_url() -> str:
    """Address of the database that this test's ORM talks to."""
    s = connection.settings_dict
    user = quote(s["USER"]) + (f":{quote(s['PASSWORD'])}" if s["PASSWORD"] else "")
    host = str(s["HOST"])
    where = f"{host}:{s['PORT']}" if not host.startswith("/") else f"127.0.0.1:{s['PORT']}"
    return f"postgresql://{user}@{where}/{quote(s['NAME'])}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class System:
    """Addresses of the running platform, and its processes by name."""

    data: Path
    web_url: str
    mqtt_url: str
    env: dict[str, str]
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str, *arguments: str) -> None:
        log = (self.data / f"{name}.log").open("ab")
        self.processes[name] = subprocess.Popen(
            [sys.executable, "-m", "zhenan.server.cli", *(arguments or (name,))],
            env=self.env,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=self.data,
        )

    def kill(self, name: str) -> None:
        self.processes[name].kill()
        self.processes[name].wait()

    def stop(self) -> None:
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def log_of(self, name: str) -> str:
        path = self.data / f"{name}.log"
        return path.read_text("utf-8", "replace")[-6000:] if path.exists() else ""

    def ports(self) -> dict[str, int]:
        """The gateway's TCP ports by protocol."""
        return dict(json.loads((self.data / "run" / "gateway.json").read_text("utf-8"))["ports"])

    def ready(self, *names: str, seconds: float = 60) -> None:
        """Wait until the web answers and the named processes left their first health file."""
        until = time.monotonic() + seconds
        waiting = set(names)
        while time.monotonic() < until:
            for name, process in self.processes.items():
                assert process.poll() is None, f"{name} ended with {process.returncode}:\n{self.log_of(name)}"
            waiting -= {n for n in waiting if (self.data / "run" / f"{n}.health.json").exists()}
            if not waiting and self._answers():
                return
            time.sleep(0.1)
        raise AssertionError(f"not ready in {seconds} s: {waiting or 'web'}\n{self.log_of('web')}")

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.web_url}/p/", timeout=2) as answer:
            return answer.status == 200
        return False


@contextlib.contextmanager
def running(data: Path, *, nats_url: str, mqtt_url: str, names: tuple[str, ...]) -> Iterator[System]:
    """Start the named processes on this test's database and broker; stop them all at the end."""
    port = free_port()
    env = os.environ | {
        "PYTHONPATH": str(SRC),
        "ZHENAN_DATA": str(data),
        "DATABASE_URL": database_url(),
        "NATS_URL": nats_url,
        "MQTT_URL": mqtt_url,
        "HISTORY_URL": str(data / "history"),
        "ZHENAN_GATEWAY_HOST": "127.0.0.1",
        "ZHENAN_GB26875_PORT": "0",
        "ZHENAN_JT808_PORT": "0",
        "ZHENAN_HJ212_PORT": "0",
        "ZHENAN_HTTP_PORT": "0",
        "ZHENAN_MQTT_PORT": "0",
    }
    env.pop("DJANGO_ALLOW_ASYNC_UNSAFE", None)
    system = System(data, f"http://127.0.0.1:{port}", mqtt_url, env)
    try:
        for name in names:
            system.start(name, *(("web", "--port", str(port)) if name == "web" else (name,)))
        system.ready(*(name for name in names if name in ("gateway", "judge", "historian")))
        yield system
    finally:
        system.stop()


class MqttDevice:
    """A device on the MQTT listener, which publishes at QoS 1 and hears its commands."""

    def __init__(self, url: str, key: str) -> None:
        address = urlsplit(url)
        self.key = key
        self.heard: list[tuple[str, dict[str, object]]] = []
        self.client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=f"device-{key}", clean_session=True)
        if address.username:
            self.client.username_pw_set(unquote(address.username), unquote(address.password or ""))
        self.client.on_message = lambda c, u, m: self.heard.append((m.topic, json.loads(m.payload)))
        self.client.connect(address.hostname or "127.0.0.1", address.port or 1883)
        self.client.loop_start()
        self.client.subscribe(f"d/{key}/down/#", qos=1)

    def send(self, **values: float | str) -> None:
        """Publish readings of now; returns when the broker has acknowledged."""
        payload = json.dumps({"ts": int(time.time() * 1000), "values": values})
        self.client.publish(f"d/{self.key}/up/telemetry", payload, qos=1).wait_for_publish(10)

    def close(self) -> None:
        self.client.loop_stop()
        self.client.disconnect()
