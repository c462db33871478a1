"""`zhenan user`: make a person who can sign in, give a post, set a new password."""

from __future__ import annotations

import argparse
import getpass
import os
import sys

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import transaction

from zhenan.kernel.people.models import Organisation, Post, User
from zhenan.kernel.people.roles import roles
from zhenan.kernel.territory.models import Division


def parsed(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="zhenan user", description=__doc__)
    parser.add_argument("username")
    parser.add_argument("--name", help="the person's name (default: the username)")
    parser.add_argument("--superuser", action="store_true", help="may do everything")
    parser.add_argument("--role", help="role of a post to add; needs --organisation and --division")
    parser.add_argument("--organisation", metavar="CODE")
    parser.add_argument("--division", metavar="CODE")
    asked = parser.parse_args(argv)
    if asked.role and not (asked.organisation and asked.division):
        parser.error("--role needs --organisation CODE and --division CODE")
    return asked


def main(argv: list[str]) -> int:
    """The password comes from ZHENAN_PASSWORD, or is asked for at the terminal; it is never an argument."""
    asked = parsed(argv)
    password = os.environ.get("ZHENAN_PASSWORD") or getpass.getpass("password: ")
    with transaction.atomic():
        user, made = User.objects.get_or_create(
            username=asked.username, defaults={"name": asked.name or asked.username}
        )
        try:
            validate_password(password, user)
        except ValidationError as err:
            raise ValueError("password: " + " ".join(err.messages)) from err
        user.set_password(password)
        user.is_superuser = user.is_superuser or asked.superuser
        user.name = asked.name or user.name
        user.save()
        if asked.role:
            add_post(user, role=asked.role, organisation=asked.organisation, division=asked.division)
    sys.stdout.write(f"{'made' if made else 'changed'} {user.username}\n")
    return 0


def add_post(user: User, *, role: str, organisation: str, division: str) -> Post:
    """A post from today's tables. Raises ValueError naming what is not there."""
    if role not in roles():
        raise ValueError(f"--role: came {role!r}; want one of {', '.join(sorted(roles()))}")
    body = Organisation.objects.filter(code=organisation).first()
    place = Division.objects.filter(code=division).first()
    if body is None or place is None:
        missing = f"organisation {organisation!r}" if body is None else f"division {division!r}"
        raise ValueError(f"no {missing}; codes are listed on the people page")
    return Post.objects.get_or_create(user=user, role=role, organisation=body, division=place)[0]
