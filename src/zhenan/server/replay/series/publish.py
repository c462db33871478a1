"""A series sent as a device would: JSON over MQTT, QoS 1, with the readings' own times."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

import paho.mqtt.client as paho

from zhenan.server.replay.series.sets import Series

A_MESSAGE = 500  # readings' rows in one message at full speed: well below the payload's limit
TICK_S = 0.05  # at a given speed, what is due goes out this often


class NotPublished(ValueError):
    """The broker could not be reached, or did not confirm."""


def publish(series: Series, device: str, url: str, *, speed: float = math.inf) -> int:
    """Send every row; returns how many messages the broker confirmed. Raises NotPublished.

    Args:
        speed: how many times faster than the series' own clock; infinity: as fast as the broker takes it.
    """
    client = _connected(url, device)
    try:
        sent = [
            client.publish(f"d/{device}/up/telemetry", _payload(series, first, last), qos=1)
            for first, last in _due(series, speed)
        ]
        deadline = time.monotonic() + 120
        for message in sent:
            message.wait_for_publish(max(0.1, deadline - time.monotonic()))
            if not message.is_published():
                raise NotPublished(f"the broker did not confirm all of {len(sent)} messages within two minutes")
    finally:
        client.disconnect()
        client.loop_stop()
    return len(sent)


def _connected(url: str, device: str) -> paho.Client:
    if not url:
        raise NotPublished("MQTT_URL is not set, and no embedded engines run on this data folder")
    address = urlsplit(url)
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=f"replay-{device}")
    if address.username:
        client.username_pw_set(unquote(address.username), unquote(address.password or ""))
    up = threading.Event()
    client.on_connect = lambda *_: up.set()
    try:
        client.connect(address.hostname or "127.0.0.1", address.port or 1883, keepalive=30)
    except OSError as err:
        raise NotPublished(f"no MQTT broker at {address.hostname}:{address.port}: {err.strerror or err}") from err
    client.loop_start()
    if not up.wait(10):
        client.loop_stop()
        raise NotPublished(f"the MQTT broker at {address.hostname}:{address.port} did not let us in within 10 s")
    return client


def _due(series: Series, speed: float) -> Iterator[tuple[int, int]]:
    """Row ranges to send now; waits until the next are due."""
    if math.isinf(speed):
        yield from ((first, min(first + A_MESSAGE, len(series))) for first in range(0, len(series), A_MESSAGE))
        return
    began, first = time.monotonic(), 0
    while first < len(series):
        elapsed_ms = (time.monotonic() - began) * 1000 * speed
        last = first
        while last < len(series) and series.ts[last] - series.ts[0] <= elapsed_ms and last - first < A_MESSAGE:
            last += 1
        if last > first:
            yield first, last
            first = last
        else:
            time.sleep(TICK_S)


def _payload(series: Series, first: int, last: int) -> bytes:
    rows = []
    for i in range(first, last):
        values = {name: float(column[i]) for name, column in series.values.items() if math.isfinite(column[i])}
        if values:
            rows.append({"ts": int(series.ts[i]), "values": values})
    return json.dumps(rows, separators=(",", ":")).encode()
