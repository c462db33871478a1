"""A thing is told once to each person, in their language; over other channels by a real request that is tried again."""

import json
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from django.db import transaction
from django.utils.translation import gettext_lazy as _

from zhenan.kernel.notices.models import Delivery, Notice
from zhenan.kernel.notices.services import address_for, deliver_due, tell

AT = datetime(2026, 3, 2, 4, 0, tzinfo=UTC)


class Webhook:
    """A server that keeps what it is sent, and refuses while ``status`` says so."""

    def __init__(self):
        self.got, self.status = [], 200
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                hook.got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(hook.status)
                self.end_headers()

            def log_message(self, *args):
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def address(self):
        return f"json://127.0.0.1:{self.server.server_port}/hook"


@pytest.fixture
def webhook(settings):
    hook = Webhook()
    settings.NOTICE_CHANNELS = [hook.address + "/{username}"]
    yield hook
    hook.server.shutdown()


def told(people, key="alarm:1", **more):
    return tell(people, key=key, kind="test", title=_("Notices"), at=AT, **more)


def test_the_same_thing_is_told_once(personas):
    people = [personas["grid_worker"], personas["town_officer_here"], personas["grid_worker"]]
    assert len(told(people)) == 2
    assert told(people) == []
    assert len(told([personas["city_officer"], *people])) == 1
    assert Notice.objects.count() == 3


def test_each_reads_it_in_their_language(personas):
    reader = personas["grid_worker"]
    reader.language = "zh-hans"
    told([reader, personas["city_officer"]])
    assert set(Notice.objects.values_list("recipient__username", "title")) == {
        ("grid_worker", "通知"),
        ("city_officer", "Notices"),
    }


def test_nothing_is_told_when_the_change_rolls_back(personas):
    def change():
        with transaction.atomic():
            told([personas["grid_worker"]])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        change()
    assert not Notice.objects.exists()


def test_a_webhook_hears_it_once(personas, webhook):
    told([personas["grid_worker"]], body="后厨")
    assert deliver_due(AT) == 1
    assert deliver_due(AT) == 0
    assert [(m["title"], m["message"]) for m in webhook.got] == [("Notices", "后厨")]
    assert Delivery.objects.get().state == "sent"


def test_a_refusal_is_tried_again_and_in_the_end_stands_as_failed(personas, webhook):
    webhook.status = 500
    told([personas["grid_worker"]])
    for _n in range(5):
        deliver_due(AT)
    row = Delivery.objects.get()
    assert (row.state, row.attempts) == ("failed", 5)
    assert "refused" in row.error


def test_a_delivery_whose_sender_died_is_taken_over(personas, webhook):
    told([personas["grid_worker"]])
    Delivery.objects.update(state="sending", changed_at=AT)
    assert deliver_due(AT + timedelta(minutes=1)) == 0
    assert deliver_due(AT + timedelta(minutes=6)) == 1


def test_a_channel_that_lacks_the_address_is_left_out(personas, settings):
    settings.NOTICE_CHANNELS = ["mailtos://user:pass@mail.example?to={email}"]
    told([personas["grid_worker"]])
    assert not Delivery.objects.exists()
    person = personas["grid_worker"]
    person.email = "a&b@example.org"
    assert address_for("mailto://x?to={email}", person) == "mailto://x?to=a%26b%40example.org"


def test_the_bell_and_the_list_show_ones_own_notices(personas, client):
    told([personas["grid_worker"]], url="/monitoring/alarms/")
    told([personas["city_officer"]], key="other")
    client.force_login(personas["grid_worker"])
    assert "badge" in client.get("/notices/bell/").content.decode()
    assert client.get("/notices/").content.decode().count("list-group-item") == 1
    notice = Notice.objects.get(recipient__username="grid_worker")
    assert client.get(f"/notices/{notice.pk}/open/").headers["Location"] == "/monitoring/alarms/"
    assert "badge" not in client.get("/notices/bell/").content.decode()
    other = Notice.objects.get(recipient__username="city_officer")
    assert client.get(f"/notices/{other.pk}/open/").status_code == 404
