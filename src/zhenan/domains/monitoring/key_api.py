"""API keys over the API: the same services and scopes as the pages."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from django.utils import timezone
from ninja import Router, Schema
from ninja.errors import HttpError
from pydantic import Field

from zhenan.domains.monitoring import keys
from zhenan.domains.monitoring.models import ApiKey
from zhenan.kernel.access.guards import NotAllowed
from zhenan.kernel.errors import DomainError
from zhenan.kernel.people.models import Organisation, User
from zhenan.kernel.territory.models import Division

router = Router()


class KeyProblem(Schema):
    """What was wrong: a stable code and a sentence."""

    code: str
    detail: str


class KeyOut(Schema):
    id: int
    name: str
    prefix: str
    division: str
    organisation: str | None
    readings_per_s: int
    burst: int
    made_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


class KeyMade(KeyOut):
    """``token``: the key's text. It is told here and never again."""

    token: str


class KeyIn(Schema):
    """``division``: a code; ``organisation``: a code, or null for all devices of the division."""

    name: str = Field(min_length=1, max_length=120)
    division: str = Field(max_length=60)
    organisation: str | None = Field(None, max_length=60)
    readings_per_s: int = Field(1000, ge=1, le=keys.MOST)
    burst: int = Field(100_000, ge=1, le=keys.MOST)
    expires_at: datetime | None = None


def _user(request: HttpRequest) -> User:
    user = request.user
    if not isinstance(user, User) or not user.can("key.edit"):
        raise HttpError(403, "key.edit is needed")
    return user


def _out(key: ApiKey) -> dict[str, Any]:
    names = ("id", "name", "prefix", "readings_per_s", "burst", "made_at", "expires_at", "revoked_at", "last_used_at")
    return {name: getattr(key, name) for name in names} | {
        "division": key.division.code,
        "organisation": key.organisation.code if key.organisation else None,
    }


@router.get("", response=list[KeyOut])
def list_keys(request: HttpRequest) -> Any:
    """The newest thousand keys within the caller's reach, revoked ones too."""
    rows = ApiKey.objects.visible_to(_user(request)).select_related("division", "organisation")
    return [_out(key) for key in rows.order_by("-made_at", "-pk")[:1000]]


@router.post("", response={201: KeyMade, 409: KeyProblem})
def make(request: HttpRequest, asked: KeyIn) -> Any:
    """Make a key. 409 with the reason when it may not be made."""
    user, at, until = _user(request), timezone.now(), asked.expires_at
    division = Division.objects.filter(code=asked.division).first()
    organisation = Organisation.objects.filter(code=asked.organisation).first() if asked.organisation else None
    if division is None or (asked.organisation and organisation is None):
        raise HttpError(422, f"no division {asked.division!r}, or no organisation {asked.organisation!r}")
    try:
        key, token = keys.make_key(
            name=asked.name, division=division, organisation=organisation, readings_per_s=asked.readings_per_s,
            burst=asked.burst, by=user, at=at,
            expires_at=timezone.make_aware(until) if until and timezone.is_naive(until) else until,
        )  # fmt: skip
    except NotAllowed as err:
        raise HttpError(403, str(err)) from err
    except DomainError as err:
        return 409, {"code": err.code, "detail": str(err)}
    return 201, _out(key) | {"token": token}


@router.post("/{key_id}/revoke", response=KeyOut)
def revoke(request: HttpRequest, key_id: int) -> Any:
    """End a key. Doing it again changes nothing."""
    user = _user(request)
    if not 0 < key_id < 2**63:
        raise HttpError(404, "no such key")
    get_object_or_404(ApiKey.objects.visible_to(user), pk=key_id)
    keys.revoke_key(key_id, by=user, at=timezone.now())
    return _out(ApiKey.objects.select_related("division", "organisation").get(pk=key_id))
