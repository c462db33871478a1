"""Finding the people who hold a role for a place."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import date
from typing import NamedTuple

from django.db.models import Q
from django.utils import timezone

from zhenan.kernel.people.models import Post, User
from zhenan.kernel.people.roles import roles
from zhenan.kernel.rows.building import known

POST = ("pk", "role", "organisation_id", "division__path", "programmes")
USER = ("id", "username", "name", "language", "email", "phone", "is_active")  # all that telling people asks of them


def paths_above(path: str) -> list[str]:
    """The path itself and every path above it, the deepest first: a/b/c/ → a/b/c/, a/b/, a/."""
    codes = path.strip("/").split("/") if path else []
    return ["/".join(codes[:depth]) + "/" for depth in range(len(codes), 0, -1)]


def holders_of(
    role: str, *, path: str, day: date, organisations: Iterable[int] = (), programme: str = ""
) -> list[User]:
    """The active people who hold the role for a place: the nearest division's; for a role that reaches its own
    organisation only, that organisation's. In a stable order; [] when nobody does."""
    posts = Post.objects.held_on(day).filter(role=role, user__is_active=True).select_related("user", "division")
    posts = posts.filter(Q(programmes=[]) | Q(programmes__contains=[programme]))
    entry = roles().get(role)
    if entry is not None and entry.reach == "organisation":
        return _people(posts.filter(organisation__in=list(organisations)))
    if entry is not None and entry.reach == "everything":
        return _people(posts)
    near = list(posts.filter(division__path__in=paths_above(path)))
    deepest = max((len(post.division.path) for post in near), default=0)
    return _people(post for post in near if len(post.division.path) == deepest)


class _Held(NamedTuple):
    """A post, as far as who holds it goes."""

    pk: int
    programmes: list[str]
    user_id: int
    user: User


class Holders:
    """``holders_of`` for many places at once, with one query; the same people in the same order.

    ``places``: the (division path, organisations) that will be asked for. ``of`` of another place finds nobody.
    """

    def __init__(self, wanted: Collection[str], *, places: Iterable[tuple[str, Sequence[int]]], day: date) -> None:
        paths: set[str] = set()
        organisations: set[int] = set()
        for path, own in {(path, tuple(own)) for path, own in places}:
            paths.update(paths_above(path))
            organisations.update(own)
        table = roles()
        everywhere = [role for role in wanted if role in table and table[role].reach == "everything"]
        near = Q(division__path__in=list(paths)) | Q(organisation__in=list(organisations)) | Q(role__in=everywhere)
        posts = Post.objects.held_on(day).filter(near, role__in=list(wanted), user__is_active=True)
        self._posts: dict[tuple[str, str | int | None], list[_Held]] = {}
        users: dict[int, User] = {}
        names = [f"user__{name}" for name in USER]
        for pk, role, organisation, path, programmes, *user in posts.order_by("pk").values_list(*POST, *names):
            person = users.setdefault(user[0], known(User, **dict(zip(USER, user, strict=True))))
            for place in (None, organisation, path):
                self._posts.setdefault((role, place), []).append(_Held(pk, programmes, person.id, person))
        self._found: dict[tuple[str, str, tuple[int, ...], str], list[User]] = {}

    def of(self, role: str, *, path: str, organisations: Sequence[int] = (), programme: str = "") -> list[User]:
        key = (role, path, tuple(organisations), programme)
        if key not in self._found:
            self._found[key] = self._look(*key)
        return self._found[key]

    def _look(self, role: str, path: str, organisations: tuple[int, ...], programme: str) -> list[User]:
        entry = roles().get(role)
        if entry is not None and entry.reach == "organisation":
            return _people(self._at(role, organisations, programme))
        if entry is not None and entry.reach == "everything":
            return _people(self._at(role, (None,), programme))
        for above in paths_above(path):
            near = self._at(role, (above,), programme)
            if near:
                return _people(near)
        return []

    def _at(self, role: str, places: Sequence[str | int | None], programme: str) -> list[_Held]:
        posts = [post for place in places for post in self._posts.get((role, place), ())]
        return [post for post in posts if not post.programmes or programme in post.programmes]


def _people(posts: Iterable[Post | _Held]) -> list[User]:
    return list({post.user_id: post.user for post in sorted(posts, key=lambda p: p.pk)}.values())


def with_posts(people: Iterable[User]) -> list[User]:
    """The people with their ``current_posts`` read in one query for all."""
    found = list(people)
    held: dict[int, list[Post]] = {user.pk: [] for user in found if user.is_active}
    rows = Post.objects.held_on(timezone.localdate()).filter(user__in=held).select_related("organisation", "division")
    for post in rows.order_by("pk"):
        held[post.user_id].append(post)
    for user in found:
        user.current_posts = held.get(user.pk, [])
    return found
