"""The people a visitor signs in as: one a role, all around one place, so that an alarm can be followed to its end.

Their one password is made at demo time (GB/T 22239-2019 8.1.4.1 and 8.1.4.2: no default passwords) and kept in the
data folder, readable by its owner alone.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from django.contrib.auth.hashers import make_password
from django.db.models import Count, Q

from zhenan.domains.register.models import Subject
from zhenan.kernel.people.models import Organisation, Post, User
from zhenan.kernel.territory.models import Division
from zhenan.packkit.registry import registry
from zhenan.server import config
from zhenan.server.demo.plan import PREFIX, SOURCE, Demo
from zhenan.server.embedded import write_private

LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"  # none that look alike
OWN = {  # account → (role, part of the organisation's code, what it shows)
    "city": ("city_office", "office", "市安委办：全市"),
    "admin": ("administrator", "it", "系统管理员：账号、规则、设备"),
    "discipline": ("discipline_inspector", "discipline", "纪检监察：只读全市"),
    "insurer": ("insurer", "insurer", "保险机构：承保单位"),
    "expert": ("expert", "experts", "专家：受托单位"),
}


@dataclass(frozen=True)
class Account:
    """A person who can sign in, and in a line what for."""

    username: str
    role: str
    about: str


def file() -> Path:
    return config.data_dir() / "demo-accounts.json"


def signin_file() -> Path:
    """What ./run prints when the platform is up."""
    return config.data_dir() / "signin.txt"


def make(demo: Demo) -> str:
    """Choose the place, give its people their short names, and let them sign in."""
    chosen = chosen_place()
    _invite(chosen[1])
    names: list[Account] = []
    for post, name, about in _cast(*chosen):
        User.objects.filter(pk=post.user_id).update(username=name)
        names.append(Account(name, post.role, f"{about}（{post.user.name}）"))
    _let_in(names)
    return f"{len(names)} accounts around {chosen[0].name}"


def _invite(subjects: Sequence[Subject]) -> None:
    """Let the insurer and the experts see the chosen subjects, too."""
    shared = Organisation.objects.filter(code__in=(f"{PREFIX}insurer", f"{PREFIX}experts")).order_by("pk")
    for subject in subjects:
        subject.viewers = list(dict.fromkeys([*subject.viewers, *shared.values_list("pk", flat=True)]))
        subject.save(update_fields=["viewers"])


def greeting() -> str:
    """Who may sign in, with the password, as printed."""
    return signin_file().read_text("utf-8").rstrip() if signin_file().exists() else ""


def keep_known() -> None:
    """Make a new password when the file with the old one is gone: nobody could know it any more."""
    if not file().exists() or not signin_file().exists():
        rows = Post.objects.filter(organisation__code__startswith=PREFIX).exclude(user__password="!")  # noqa: S106
        names = [Account(p.user.username, p.role, p.user.name) for p in rows.select_related("user").order_by("pk")]
        if names:
            _let_in(names)


def password() -> str:
    """The password of the demo accounts."""
    return str(json.loads(file().read_text("utf-8"))["password"])


def _new_password() -> str:
    return "-".join("".join(secrets.choice(LETTERS) for _ in range(4)) for _ in range(3))


def _let_in(names: Sequence[Account]) -> None:
    # A build that was broken off after this leaves its file: the next one goes on with the same password.
    word = password() if file().exists() else _new_password()
    User.objects.filter(username__in=[a.username for a in names]).update(password=make_password(word))
    accounts = [{"username": a.username, "role": a.role, "about": a.about} for a in names]
    write_private(file(), json.dumps({"password": word, "accounts": accounts}, ensure_ascii=False, indent=1))
    width = max(len(a.username) for a in names) + 2
    lines = [f"Sign in with any of these accounts; the password of all is  {word}"]
    lines += [f"  {a.username:<{width}}{a.about}" for a in names]
    write_private(signin_file(), "\n".join(lines) + "\n")


def chosen_place() -> tuple[Division, list[Subject]]:
    """A grid where every programme has something to show, and of each programme its subject there with most devices."""
    rows = Subject.objects.filter(source=SOURCE, division__level="grid")
    rows = rows.annotate(
        count=Count("devices", distinct=True),
        safety=Count("organisation__posts", filter=Q(organisation__posts__role="enterprise_safety"), distinct=True),
    ).filter(count__gt=0)
    best: dict[int, dict[str, tuple[tuple[int, int, str], int]]] = {}
    for pk, grid, programme, key, count, safety in rows.values_list(
        "pk", "division_id", "programme", "key", "count", "safety"
    ):
        mine = best.setdefault(grid, {})
        rank = ((min(safety, 1), count, key), pk)
        mine[programme] = max(mine.get(programme, rank), rank)
    if not best:
        raise ValueError("no subject of the demo city has a device; no pack brings a simulation")

    def worth(grid: int) -> tuple[int, int, int, int]:
        ranks = [rank for rank, _pk in best[grid].values()]
        return len(ranks), sum(safety for safety, _, _ in ranks), sum(count for _, count, _ in ranks), -grid

    grid = Division.objects.select_related("parent__parent").defer("boundary").get(pk=max(best, key=worth))
    chosen = [best[grid.pk][programme][1] for programme in sorted(best[grid.pk])]
    return grid, [Subject.objects.get(pk=pk) for pk in chosen]


def _cast(grid: Division, subjects: Sequence[Subject]) -> list[tuple[Post, str, str]]:
    """(post, account, about) of everyone who can sign in."""
    town, county = grid.parent, grid.parent.parent if grid.parent else None
    cast: list[tuple[Post | None, str, str]] = [
        (_post(role, code=PREFIX + code), name, about) for name, (role, code, about) in OWN.items()
    ]
    places = (
        ("district", "district_office", county, "区县应急管理局"),
        ("town", "town_office", town, "镇街应急管理办公室"),
        ("grid", "grid_worker", grid, "网格员"),
    )
    for name, role, place, about in places:
        cast.append((_post(role, division=place), name, f"{about}：{place.name if place else ''}"))
    for subject, suffix in zip(subjects, ("", *range(2, 9)), strict=False):
        own = Post.objects.filter(organisation=subject.organisation).select_related("user").order_by("role")
        for worker in own:
            word, about = ("enterprise", "主要负责人") if worker.role == "enterprise_head" else ("safety", "安全员")
            cast.append((worker, f"{word}{suffix}", f"{about}：{subject.name}"))
        cast += _watching(subject, {name for _post, name, _about in cast})
    for pack in registry().packs.values():
        post = _post("department", code=f"{PREFIX}dept-{pack.code}")
        name = pack.code.rpartition("_")[2]
        cast.append((post, name, pack.department.label("zh-hans")))
    return [(post, name, about) for post, name, about in cast if post is not None]


def _watching(subject: Subject, taken: set[str]) -> list[tuple[Post, str, str]]:
    """The operator of the organisation that watches the subject."""
    posts = Post.objects.filter(organisation__in=subject.viewers, role__endswith="_operator")
    post = posts.select_related("user", "organisation").order_by("pk").first()
    name = post.role.split("_")[-2] if post else ""
    return [(post, name, f"值班员：{post.organisation.name}")] if post and name not in taken else []


def _post(role: str, *, code: str = "", division: Division | None = None) -> Post | None:
    rows = Post.objects.filter(role=role).select_related("user").order_by("pk")
    rows = rows.filter(organisation__code=code) if code else rows.filter(division=division)
    return rows.first()
