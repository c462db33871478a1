"""The live feed over HTTP: what is within reach arrives, soon, and what was missed arrives after a new connection."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from contextlib import contextmanager

import pytest
import requests
from django.utils import timezone

from zhenan.kernel.events import kinds
from zhenan.kernel.events.models import new_id
from zhenan.kernel.events.services import record
from zhenan.kernel.events.stream import Message
from zhenan.web.views.stream import MISSED, _newest, missed_since

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _kinds():
    for code in ("alarm.raised", "people.password_reset", "test.moved"):
        if code not in kinds.REGISTERED:
            kinds.register(code, code)


def happen(kind, division):
    data = {"rule": "r", "value": "v", "name": "n"}
    return record(kind, targets=["x:1"], actor=None, at=timezone.now(), path=division.path, data=data)


class Feed:
    """An open stream, read message by message."""

    def __init__(self, answer):
        self.lines = answer.iter_lines(decode_unicode=True)

    def next(self):
        """The next (event, data, id)."""
        found = {}
        for line in self.lines:
            if line:
                key, _, value = line.partition(": ")
                found[key] = value
            elif "event" in found:
                return found["event"], found["data"], found.get("id", "")
        raise AssertionError("the stream ended")

    def change(self):
        while True:
            event, data, key = self.next()
            if event == "change":
                return json.loads(data), key


@contextmanager
def listening(site, user, **headers):
    cookies = {"sessionid": site.session_of(user)}
    with requests.get(f"{site.url}/stream", cookies=cookies, headers=headers, stream=True, timeout=20) as answer:
        assert answer.headers["Content-Type"] == "text/event-stream"
        feed = Feed(answer)
        assert feed.next()[0] == "beat"
        yield feed


def test_a_change_within_reach_is_heard_within_a_second_and_says_only_topic_and_id(site, personas):
    with listening(site, personas["town_officer_here"]) as feed:
        started = time.monotonic()
        happen("alarm.raised", personas.elsewhere)
        event = happen("alarm.raised", personas.here)
        data, key = feed.change()
        assert data == {"topic": "alarm", "id": str(event.pk)}
        assert key == str(event.pk)
        assert time.monotonic() - started < 1


def test_a_topic_that_the_person_may_not_view_is_not_told(site, personas):
    with listening(site, personas["town_officer_here"]) as feed:
        happen("people.password_reset", personas.here)
        happen("test.moved", personas.here)
        assert feed.change()[0]["topic"] == "test"


def test_after_a_lost_connection_the_missed_changes_are_told(site, personas):
    first = happen("alarm.raised", personas.here)
    second = happen("test.moved", personas.here)
    happen("test.moved", personas.elsewhere)
    with listening(site, personas["town_officer_here"], **{"Last-Event-ID": str(first.pk)}) as feed:
        assert feed.change() == ({"topic": "test", "id": str(second.pk)}, str(second.pk))


def test_what_happened_between_the_page_and_its_stream_is_told(site, personas):
    made = new_id()
    event = happen("test.moved", personas.here)
    cookies = {"sessionid": site.session_of(personas["town_officer_here"])}
    with requests.get(f"{site.url}/stream?since={made}", cookies=cookies, stream=True, timeout=20) as answer:
        assert Feed(answer).change()[1] == str(event.pk)


@pytest.mark.parametrize("last", ["nonsense", "\x00", "1" * 500])
def test_an_id_that_nobody_gave_means_reload_everything(personas, last):
    assert missed_since(personas["town_officer_here"], last) == [MISSED]


def test_more_than_the_backlog_means_reload_everything(personas, monkeypatch):
    monkeypatch.setattr("zhenan.web.views.stream.BACKLOG", 2)
    for _ in range(3):
        happen("test.moved", personas.here)
    assert missed_since(personas["city_officer"], str(uuid.UUID(int=0))) == [MISSED]


def test_of_many_messages_that_wait_a_page_hears_the_newest_of_each_topic():
    waiting = asyncio.Queue()
    for number in range(1, 100):
        waiting.put_nowait(Message(str(number), "alarm" if number % 2 else "notice", "k", "", (), "", ()))
    told = _newest(Message("0", "hazard", "k", "", (), "", ()), waiting)
    assert [(m.topic, m.id) for m in told] == [("hazard", "0"), ("notice", "98"), ("alarm", "99")]
    assert waiting.empty()


def test_an_open_stream_holds_no_database_connection(site, personas):
    from django.db import connection

    def connections_of_requests():
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            return cursor.fetchone()[0]

    before = connections_of_requests()
    with listening(site, personas["city_officer"]), listening(site, personas["expert"]):
        time.sleep(0.3)
        # The one listener of the process is all that stays, however many pages are open.
        assert connections_of_requests() <= before + 1
