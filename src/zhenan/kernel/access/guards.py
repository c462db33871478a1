"""Guards of changes and pages."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import HttpRequest, HttpResponseBase
from django.utils.translation import gettext_lazy as _

from zhenan.kernel.access.scope import ScopedQuerySet
from zhenan.kernel.errors import DomainError
from zhenan.kernel.people.models import User


class AuthedRequest(HttpRequest):
    """A request whose user is signed in: for annotations of views behind ``needs``."""

    user: User


class NotAllowed(DomainError):
    code = "access.not_allowed"
    message = _("{actor} may not do this ({capability}).")


def require(actor: User | None, capability: str, obj: models.Model | None = None) -> None:
    """Raise NotAllowed unless the actor holds the capability, and the object is within its reach.

    ``actor`` None is the platform itself (judge, worker): it may do everything.
    """
    if actor is None:
        return
    if not actor.can(capability):
        raise NotAllowed(actor=actor, capability=capability)
    if obj is not None:
        queryset: Any = type(obj)._default_manager.all()
        if (
            isinstance(queryset, ScopedQuerySet)
            and not queryset.visible_to(actor, capability).filter(pk=obj.pk).exists()
        ):
            raise NotAllowed(actor=actor, capability=capability)


View = TypeVar("View", bound=Callable[..., HttpResponseBase])


def needs(capability: str) -> Callable[[View], View]:
    """A page for signed-in people who hold the capability ("" for anyone signed in); others get 403."""

    def wrap(view: View) -> View:
        @wraps(view)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if not request.user.can(capability):  # type: ignore[union-attr]
                raise PermissionDenied(capability)
            return view(request, *args, **kwargs)

        return login_required(guarded)  # type: ignore[return-value]

    return wrap
