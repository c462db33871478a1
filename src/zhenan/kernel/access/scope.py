"""What part of the city's records a person may see with a capability, and the queryset filter it makes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from django.contrib.auth.models import AnonymousUser
from django.db import models
from django.db.models import Q

from zhenan.kernel.people.models import User


@dataclass(frozen=True)
class Reach:
    """One post's reach: a division subtree or an organisation; programmes empty means all."""

    path: str  # "" when the reach is an organisation
    organisation_id: int | None
    programmes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scope:
    """The union of a person's reaches for a capability."""

    everything: bool
    reaches: tuple[Reach, ...] = ()

    @property
    def empty(self) -> bool:
        return not self.everything and not self.reaches

    def admits(self, *, path: str = "", organisations: tuple[int, ...] = (), programme: str = "") -> bool:
        """Whether a record placed here is within the scope: the same judgement as the queryset filter's."""
        if self.everything:
            return True
        for reach in self.reaches:
            if reach.programmes and programme not in reach.programmes:
                continue
            if reach.path and path.startswith(reach.path):
                return True
            if reach.organisation_id is not None and reach.organisation_id in organisations:
                return True
        return False


NOTHING = Scope(everything=False)


def scope_of(user: User | AnonymousUser, capability: str) -> Scope:
    """The person's scope for one capability, from today's posts that grant it."""
    if not isinstance(user, User) or not user.is_active:
        return NOTHING
    if user.is_superuser:
        return Scope(everything=True)
    reaches: list[Reach] = []
    for post in user.current_posts:
        role = post.role_entry
        if capability not in role.capabilities:
            continue
        programmes = tuple(post.programmes)
        if role.reach == "everything" and not programmes:
            return Scope(everything=True)
        if role.reach == "organisation":
            reaches.append(Reach("", post.organisation_id, programmes))
        else:
            reaches.append(Reach(post.division.path, None, programmes))
    return Scope(everything=False, reaches=tuple(reaches))


class ScopedQuerySet(models.QuerySet[Any]):
    """A queryset that can be limited to what a person may see. Subclasses name the look-ups.

    ``scope_capability``: asked for when ``visible_to`` is not given another.
    ``scope_path``: look-up to a division's path; ``scope_organisations``: look-ups to organisation ids (one ending in
    ``__contains`` is to an array of them);
    ``scope_programme``: look-up to the programme's code ("" when the model has none).
    """

    scope_capability: str = ""
    scope_path: str = ""
    scope_organisations: tuple[str, ...] = ()
    scope_programme: str = ""

    def visible_to(self, user: User | AnonymousUser, capability: str = "") -> Self:
        """Rows that the user may see, or may act on with the capability given."""
        scope = scope_of(user, capability or self.scope_capability)
        if scope.everything:
            return self.all()
        if scope.empty:
            return self.none()
        wanted = Q(pk__in=[])
        for reach in scope.reaches:
            wanted |= self._condition(reach)
        return self.filter(wanted)

    def _condition(self, reach: Reach) -> Q:
        if reach.path:
            if not self.scope_path:
                return Q(pk__in=[])
            condition = Q(**{f"{self.scope_path}__startswith": reach.path})
        else:
            condition = Q(pk__in=[])
            for lookup in self.scope_organisations:
                value = [reach.organisation_id] if lookup.endswith("__contains") else reach.organisation_id
                condition |= Q(**{lookup: value})
        if reach.programmes and self.scope_programme:
            condition &= Q(**{f"{self.scope_programme}__in": reach.programmes})
        return condition
