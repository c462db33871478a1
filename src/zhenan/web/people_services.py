"""Accounts, organisations and posts: made and ended by administrators, each change an event."""

from __future__ import annotations

from datetime import date, datetime

from django.contrib.auth.password_validation import validate_password
from django.db import transaction
from django.utils.translation import gettext_lazy as _

from zhenan.kernel.access.guards import require
from zhenan.kernel.errors import DomainError
from zhenan.kernel.events.services import record
from zhenan.kernel.people.models import Organisation, Post, User
from zhenan.kernel.territory.models import Division


class NameTaken(DomainError):
    code = "people.name_taken"
    message = _("The sign-in name “{username}” is taken.")


class CodeTaken(DomainError):
    code = "people.code_taken"
    message = _("An organisation with the code “{code}” exists.")


class PostAlreadyEnded(DomainError):
    code = "people.post_already_ended"
    message = _("This post ended on {until}.")


class PostTooYoung(DomainError):
    code = "people.post_too_young"
    message = _("The post begins on {since}; its last day cannot be before that.")


def create_person(
    *, username: str, name: str, phone: str, language: str, password: str, actor: User | None, at: datetime
) -> User:
    """Make an account without any post: it may sign in and see nothing. Raises NameTaken, ValidationError
    (the password is too weak), NotAllowed."""
    require(actor, "people.edit")
    with transaction.atomic():
        if User.objects.filter(username__iexact=username).exists():
            raise NameTaken(username=username)
        user = User(username=username, name=name, phone=phone, language=language)
        validate_password(password, user)
        user.set_password(password)
        user.save()
        record("people.person_created", targets=[user], actor=actor, at=at, data={"name": name})
    return user


def create_organisation(
    *, code: str, name: str, kind: str, division: Division, phone: str, actor: User | None, at: datetime
) -> Organisation:
    """Make an organisation. Raises CodeTaken, NotAllowed."""
    require(actor, "people.edit")
    with transaction.atomic():
        if Organisation.objects.filter(code=code).exists():
            raise CodeTaken(code=code)
        made = Organisation.objects.create(code=code, name=name, kind=kind, division=division, phone=phone)
        record(
            "people.organisation_created",
            targets=[made],
            actor=actor,
            at=at,
            path=division.path,
            organisations=[made.pk],
            data={"name": name},
        )
    return made


def begin_post(
    user_id: int,
    *,
    organisation: Organisation,
    role: str,
    division: Division,
    title: str,
    since: date,
    until: date | None,
    actor: User | None,
    at: datetime,
) -> Post:
    """Put a person into a role at an organisation from a day on. Raises NotAllowed."""
    require(actor, "people.edit")
    with transaction.atomic():
        user = User.objects.select_for_update().get(pk=user_id)
        post = Post.objects.create(
            user=user, organisation=organisation, role=role, division=division, title=title, since=since, until=until
        )
        record(
            "people.post_begun",
            targets=[user, organisation],
            actor=actor,
            at=at,
            path=division.path,
            organisations=[organisation.pk],
            data={"name": str(user), "role": post.role_label, "organisation": organisation.name, "since": str(since)},
        )
    return post


def end_post(post_id: int, *, last_day_after: date, actor: User | None, at: datetime) -> Post:
    """End a post: ``last_day_after`` is the first day without it. Raises PostAlreadyEnded, PostTooYoung, NotAllowed."""
    require(actor, "people.edit")
    with transaction.atomic():
        post = (
            Post.objects.select_for_update(of=("self",))
            .select_related("organisation", "user", "division")
            .get(pk=post_id)
        )
        if post.until is not None and post.until <= last_day_after:
            raise PostAlreadyEnded(until=post.until)
        if last_day_after <= post.since:
            raise PostTooYoung(since=post.since)
        post.until = last_day_after
        post.save(update_fields=["until"])
        record(
            "people.post_ended",
            targets=[post.user, post.organisation],
            actor=actor,
            at=at,
            path=post.division.path,
            organisations=[post.organisation_id],
            data={"name": str(post.user), "role": post.role_label, "organisation": post.organisation.name},
        )
    return post


def set_active(user_id: int, *, active: bool, actor: User | None, at: datetime) -> User:
    """Let a person sign in, or no longer. Raises NotAllowed."""
    require(actor, "people.edit")
    with transaction.atomic():
        user = User.objects.select_for_update().get(pk=user_id)
        if user.is_active != active:
            user.is_active = active
            user.save(update_fields=["is_active"])
            kind = "people.person_activated" if active else "people.person_deactivated"
            record(kind, targets=[user], actor=actor, at=at, data={"name": str(user)})
    return user


def reset_password(user_id: int, *, password: str, actor: User | None, at: datetime) -> User:
    """Give a person a new first password. Raises ValidationError (too weak), NotAllowed."""
    require(actor, "people.edit")
    with transaction.atomic():
        user = User.objects.select_for_update().get(pk=user_id)
        validate_password(password, user)
        user.set_password(password)
        user.save(update_fields=["password"])
        record("people.password_reset", targets=[user], actor=actor, at=at, data={"name": str(user)})
    return user
