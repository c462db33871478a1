"""Making and revoking API keys, and what the gateway asks about them."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from django.db import transaction
from django.db.models import Count, Max, Q
from django.utils import timezone

from zhenan.domains.monitoring.devices import announce_change
from zhenan.domains.monitoring.errors import KeyRunOut, WrongLimit
from zhenan.domains.monitoring.models import ApiKey, Device
from zhenan.kernel.access import require
from zhenan.kernel.events.services import record
from zhenan.kernel.people.models import Organisation, User
from zhenan.kernel.territory.models import Division
from zhenan.telemetry.gateway.keys import Key, digest_of

MOST: Final = 100_000_000  # readings a second
_PREFIX: Final = "zk_"
_SHOWN: Final = 8  # characters by which people know a key


def make_key(
    *, name: str, division: Division, readings_per_s: int, burst: int, by: User | None, at: datetime,
    organisation: Organisation | None = None, expires_at: datetime | None = None,
) -> tuple[ApiKey, str]:  # fmt: skip
    """A new key and its text, which nobody can read again. Raises NotAllowed, KeyRunOut, WrongLimit."""
    if expires_at is not None and expires_at <= at:
        raise KeyRunOut(until=f"{timezone.localtime(expires_at):%Y-%m-%d %H:%M}")
    if not 1 <= readings_per_s <= burst <= MOST:
        raise WrongLimit(most=MOST)
    token = _PREFIX + secrets.token_urlsafe(32)
    with transaction.atomic():
        key = ApiKey.objects.create(
            name=name, prefix=token[:_SHOWN], digest=digest_of(token), division=division, organisation=organisation,
            readings_per_s=readings_per_s, burst=burst, made_by=by, made_at=at, expires_at=expires_at,
        )  # fmt: skip
        require(by, "key.edit", key)  # of a place beyond the maker's reach: nothing is made
        _record("key.made", key, by, at)
    return key, token


def revoke_key(key_id: int, *, by: User | None, at: datetime) -> ApiKey:
    """End a key: the gateways hear of it at once. Revoking it again changes nothing."""
    with transaction.atomic():
        key = ApiKey.objects.select_for_update(of=("self",)).select_related("division").get(pk=key_id)
        require(by, "key.edit", key)
        if key.revoked_at is None:
            key.revoked_at, key.revoked_by = at, by
            key.save(update_fields=["revoked_at", "revoked_by"])
            _record("key.revoked", key, by, at)
    return key


def _record(kind: str, key: ApiKey, by: User | None, at: datetime) -> None:
    # Without its name: the feed is read by many who may not know who sends what.
    record(
        kind, targets=[key], actor=by, at=at, data={"prefix": key.prefix}, path=key.division.path,
        organisations=[key.organisation_id],
    )  # fmt: skip
    announce_change()


def keys_stamp() -> str:
    """Changes whenever a key was made, revoked or has run out."""
    seen = ApiKey.objects.aggregate(
        made=Count("pk"), revoked=Count("pk", filter=~Q(revoked_at=None)), last=Max("pk"),
        run_out=Count("pk", filter=Q(expires_at__lte=timezone.now())),
    )  # fmt: skip
    return "{made}:{last}:{revoked}:{run_out}".format(**seen)


def gateway_keys() -> list[Key]:
    """The keys that are good now, each with the devices it may report for: ids as the wire knows them."""
    found = []
    for key in ApiKey.objects.good(timezone.now()).select_related("division"):
        expires_ms = int(key.expires_at.timestamp() * 1000) if key.expires_at else 0
        found.append(Key(key.pk, key.name, bytes(key.digest), key.readings_per_s, key.burst, _devices(key), expires_ms))
    return found


def _devices(key: ApiKey) -> frozenset[int] | None:
    """None: all devices, which needs no list."""
    if key.organisation_id is None and key.division.parent_id is None:
        return None
    rows = Device.objects.active().filter(subject__division__path__startswith=key.division.path)
    if key.organisation_id is not None:
        rows = rows.filter(subject__organisation_id=key.organisation_id)
    return frozenset(rows.values_list("pk", flat=True))


def record_use(used: Mapping[int, int]) -> None:
    """When keys were last used (key → UTC ms), as the gateway saw it."""
    for key_id, at_ms in used.items():
        at = datetime.fromtimestamp(at_ms / 1000, UTC)
        ApiKey.objects.filter(Q(last_used_at=None) | Q(last_used_at__lt=at), pk=key_id).update(last_used_at=at)
