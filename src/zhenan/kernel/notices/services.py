"""Telling people: the notice is a row in the change's own transaction; sending is a job."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

import apprise
import structlog
from django.conf import settings
from django.db import connection, transaction
from django.db.models import F, Q
from django.utils import timezone, translation

from zhenan.kernel.events.services import announce_to
from zhenan.kernel.notices.models import Delivery, Notice
from zhenan.kernel.people.models import User
from zhenan.kernel.rows.among import among
from zhenan.kernel.rows.building import built
from zhenan.kernel.rows.copying import create_many

log = structlog.get_logger("zhenan.notices")
ATTEMPTS = 5
STALE = timedelta(minutes=5)  # a sender that claimed a delivery and died is taken over after this


def tell(
    people: Iterable[User],
    *,
    key: str,
    kind: str,
    title: Any,
    at: datetime,
    body: Any = "",
    url: str = "",
    target: str = "",
    level: int = 4,
    data: dict[str, Any] | None = None,
) -> list[Notice]:
    """Tell each person once; returns the notices that are new.

    ``key`` names what is told ("hazard:12:overdue:town"): a second call with it tells nobody twice. ``title`` and
    ``body`` are lazy texts with {placeholders} from ``data``, put in each reader's language.
    """
    wanted = []
    for person in {p.pk: p for p in people if p.is_active}.values():
        with translation.override(person.language):
            values = {name: str(value) for name, value in (data or {}).items()}
            wanted.append(
                Notice(
                    recipient=person,
                    key=key,
                    kind=kind,
                    level=level,
                    url=url,
                    target=target,
                    created_at=at,
                    title=str(title).format(**values)[:300],
                    body=str(body).format(**values),
                )
            )
    before = set(
        Notice.objects.filter(key=key, recipient__in=[n.recipient_id for n in wanted]).values_list(
            "recipient_id", flat=True
        )
    )
    Notice.objects.bulk_create(wanted, ignore_conflicts=True)
    fresh = list(
        Notice.objects.filter(
            key=key, recipient__in=[n.recipient_id for n in wanted if n.recipient_id not in before]
        ).select_related("recipient")
    )
    _queue(fresh, at)
    if fresh:
        announce_to([notice.recipient_id for notice in fresh], "notice")
    return fresh


@dataclass(frozen=True)
class Telling:
    """One thing to tell some people, in the words of ``tell``."""

    people: Sequence[User]
    key: str
    kind: str
    title: Any
    body: Any = ""
    url: str = ""
    target: str = ""
    level: int = 4
    data: dict[str, Any] = field(default_factory=dict)

    def words(self) -> tuple[str, str]:
        """Title and body in the language that is active."""
        values = {name: str(value) for name, value in self.data.items()}
        return str(self.title).format(**values)[:300], str(self.body).format(**values)


def _worded(tellings: Sequence[Telling]) -> dict[tuple[int, str], tuple[str, str]]:
    """(place of the telling, language) → its words. A language is changed to once for all: that is most of the cost."""
    wanted: dict[str, list[int]] = {}
    for number, telling in enumerate(tellings):
        for language in {person.language for person in telling.people}:
            wanted.setdefault(language, []).append(number)
    words: dict[tuple[int, str], tuple[str, str]] = {}
    for language, numbers in wanted.items():
        with translation.override(language):
            words |= {(number, language): tellings[number].words() for number in numbers}
    return words


def tell_many(tellings: Sequence[Telling], *, at: datetime) -> list[Notice]:
    """``tell`` for many things, with a number of statements that does not grow with them; returns what is new.

    To be called in a transaction. Raises IntegrityError where another transaction told the same meanwhile: run the
    whole change again, it will find that told.
    """
    wanted: dict[tuple[int, str], Notice] = {}
    words = _worded(tellings)
    for number, telling in enumerate(tellings):
        for person in telling.people:
            if not person.is_active:
                continue
            title, body = words[number, person.language]
            wanted.setdefault(
                (person.pk, telling.key),
                built(
                    Notice, {"recipient": person}, key=telling.key, kind=telling.kind, level=telling.level,
                    url=telling.url, target=telling.target, created_at=at, title=title, body=body,
                ),
            )  # fmt: skip
    told = Notice.objects.filter(
        key__among=among({key for _, key in wanted}), recipient__among=among({pk for pk, _ in wanted})
    )
    known = set(told.values_list("recipient_id", "key")) if wanted else set()
    fresh = [notice for place, notice in wanted.items() if place not in known]
    create_many(fresh)
    _queue(fresh, at)
    if fresh:
        announce_to(sorted({notice.recipient_id for notice in fresh}), "notice")
    return fresh


def reword_many(tellings: Sequence[Telling]) -> None:
    """Put new words into notices that were told before (a count that grew), without telling anybody again."""
    words = _worded(tellings)
    rows = [
        (person.pk, telling.key, *words[number, person.language], telling.level)
        for number, telling in enumerate(tellings)
        for person in telling.people
    ]
    if rows:
        with connection.cursor() as cursor:
            cursor.execute(
                f"UPDATE {Notice._meta.db_table} n SET title = v.title, body = v.body, level = LEAST(n.level, v.level)"  # noqa: S608
                " FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::text[], %s::int[])"
                " AS v(recipient, key, title, body, level) WHERE n.recipient_id = v.recipient AND n.key = v.key",
                [list(column) for column in zip(*rows, strict=True)],
            )


def address_for(template: str, person: User) -> str | None:
    """The channel's address for this person, or None when the person lacks what it needs ({email}, {phone})."""
    values = {"email": person.email, "phone": person.phone, "username": person.username}
    if any("{" + name + "}" in template and not value for name, value in values.items()):
        return None
    for name, value in values.items():
        template = template.replace("{" + name + "}", quote(value, safe=""))
    return template


def _queue(notices: list[Notice], at: datetime) -> None:
    rows = [
        Delivery(notice=notice, channel=template.split(":", 1)[0], position=position, changed_at=at)
        for notice in notices
        for position, template in enumerate(settings.NOTICE_CHANNELS)
        if address_for(template, notice.recipient)
    ]
    if rows:
        Delivery.objects.bulk_create(rows, ignore_conflicts=True)
        from zhenan.kernel.notices.tasks import wake  # the task calls this module

        wake()


def deliver_due(at: datetime, *, limit: int = 200) -> int:
    """Send what waits, claiming each row first so that two senders never send the same. Returns how many were sent."""
    sent = 0
    due = Q(state=Delivery.State.WAITING) | Q(state=Delivery.State.SENDING, changed_at__lt=at - STALE)
    for pk in Delivery.objects.filter(due).order_by("pk").values_list("pk", flat=True)[:limit]:
        claimed = Delivery.objects.filter(due, pk=pk).update(
            state=Delivery.State.SENDING, attempts=F("attempts") + 1, changed_at=at
        )
        if claimed:
            sent += _send(Delivery.objects.select_related("notice__recipient").get(pk=pk))
    return sent


def _send(delivery: Delivery) -> int:
    notice = delivery.notice
    try:
        address = address_for(settings.NOTICE_CHANNELS[delivery.position], notice.recipient)
    except IndexError:
        address = None
    sender = apprise.Apprise()
    ok = bool(address and sender.add(address) and sender.notify(title=notice.title, body=notice.body or notice.title))
    if ok:
        delivery.state, delivery.error = Delivery.State.SENT, ""
    else:
        delivery.error = "channel refused the message" if address else "channel is no longer configured"
        delivery.state = (
            Delivery.State.FAILED if delivery.attempts >= ATTEMPTS or not address else Delivery.State.WAITING
        )
        log.warning("notice not delivered", delivery=delivery.pk, channel=delivery.channel, attempts=delivery.attempts)
    delivery.changed_at = timezone.now()
    delivery.save(update_fields=["state", "error", "changed_at"])
    return int(ok)


def mark_read(user: User, *, pks: Iterable[int] | None, at: datetime) -> int:
    """Mark the user's own notices read (all when ``pks`` is None). Returns how many changed."""
    unread = user.notices.unread()
    with transaction.atomic():
        return (unread if pks is None else unread.filter(pk__in=list(pks))).update(read_at=at)
