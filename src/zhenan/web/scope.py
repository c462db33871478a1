"""What a person may hear of at all, whatever the capability: the union of the reaches of all posts of today."""

from __future__ import annotations

from typing import Any

from django.db.models import Q, QuerySet

from zhenan.kernel.access.scope import NOTHING, Reach, Scope
from zhenan.kernel.events.models import Event
from zhenan.kernel.people.models import User
from zhenan.kernel.people.roles import capabilities


def hearing_of(user: Any) -> Scope:
    """The scope of the live feed: it tells that something moved, and each page then asks for what may be seen."""
    if not isinstance(user, User) or not user.is_active:
        return NOTHING
    reaches = []
    for post in user.current_posts:
        programmes = tuple(post.programmes)
        role = post.role_entry
        if role.reach == "everything" and not programmes:
            return Scope(everything=True)
        if role.reach == "organisation":
            reaches.append(Reach("", post.organisation_id, programmes))
        else:
            reaches.append(Reach(post.division.path, None, programmes))
    return Scope(everything=user.is_superuser, reaches=tuple(reaches))


# Topics that are seen with the capability of another.
SEEN_WITH = {"device": "alarm.view", "command": "alarm.view", "duty": "contract.view", "visit": "contract.view"}


def hears_topic(user: Any, topic: str) -> bool:
    """Whether the person may know of a topic: that the capability to see it, where there is one, is held."""
    asked = SEEN_WITH.get(topic, f"{topic}.view")
    return asked not in capabilities() or user.can(asked)


def events_heard(user: Any) -> QuerySet[Event]:
    """Events within the person's hearing."""
    scope = hearing_of(user)
    rows: Any = Event.objects.all()
    if scope.everything:
        return rows
    if scope.empty:
        return rows.none()
    wanted = Q(pk__in=[])
    for reach in scope.reaches:
        wanted |= rows._condition(reach)
    return rows.filter(wanted)
