"""Taking the demo city down: its own rows, and whatever people, the judge or the worker have hung on them since.

What is to go is gathered in a temporary table, following required foreign keys; optional ones are emptied. All foreign
keys of the platform are checked at commit, so the order of deletion does not matter and nothing half-deleted can stay.
"""

# ruff: noqa: S608  names of tables and columns are the models' own; every value is a parameter

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.db import connection, models, transaction

from zhenan.domains.register.models import Subject
from zhenan.domains.transport.models import Fence
from zhenan.kernel.events.models import Event
from zhenan.kernel.evidence.models import Evidence
from zhenan.kernel.notices.models import Notice
from zhenan.kernel.people.models import Organisation, Post, User
from zhenan.kernel.territory.models import Division
from zhenan.kernel.workflow.models import Deadline
from zhenan.server.demo import accounts
from zhenan.server.demo.plan import PREFIX, SOURCE, Demo

Model = type[models.Model]
KEYED = (Deadline, Evidence, Notice)  # they name their object by its key, in the column ``target``


@dataclass(frozen=True)
class Link:
    """A foreign key from one table to another."""

    child: Model
    column: str
    parent: Model
    optional: bool


def wipe(demo: Demo) -> None:
    """Delete every demo row and whatever hangs on one; a failure leaves everything as it was."""
    found = list(links())
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE doomed (label text, pk text, PRIMARY KEY (label, pk))")
        _seed(cursor)
        while sum(_follow(cursor, link) for link in found if not link.optional) + _by_key(cursor):
            pass
        files = _files(cursor)
        for link in found:
            if link.optional:
                _empty(cursor, link)
        count = _delete(cursor)
        cursor.execute("DROP TABLE doomed")
        cursor.execute("DROP TABLE IF EXISTS demo_city")
    for name in files:
        Evidence._meta.get_field("file").storage.delete(name)
    for path in (accounts.file(), accounts.signin_file()):
        path.unlink(missing_ok=True)
    demo.say(f"demo: {count} rows and {len(files)} files deleted")


def links() -> Iterator[Link]:
    """Every foreign key between tables of the platform; a history row belongs to the row whose history it is."""
    for model in _tables():
        history = any(f.name == "pgh_obj" for f in model._meta.fields)
        for field in model._meta.fields:
            if isinstance(field, models.ForeignKey) and (not history or field.name == "pgh_obj"):
                parent: Model = field.related_model._meta.concrete_model  # type: ignore[assignment]
                yield Link(model, field.column, parent, field.null and not history)


def _tables() -> list[Model]:
    return [m for m in apps.get_models(include_auto_created=True) if m._meta.managed and not m._meta.proxy]


def _table(model: Model) -> str:
    return connection.ops.quote_name(model._meta.db_table)


def _pk(model: Model) -> str:
    return connection.ops.quote_name(str(model._meta.pk.column))


def _seed(cursor: Any) -> None:
    """The roots: subjects, organisations, people who work for nobody else, grids where nothing else is."""
    subjects = Subject.objects.filter(source=SOURCE)
    organisations = Organisation.objects.filter(code__startswith=PREFIX)
    theirs = Post.objects.filter(organisation__in=organisations)
    others = Post.objects.exclude(organisation__in=organisations)
    users = User.objects.filter(pk__in=theirs.values("user")).exclude(pk__in=others.values("user"))
    grids = Division.objects.filter(level="grid").exclude(pk__in=others.values("division"))
    grids = grids.exclude(pk__in=Subject.objects.exclude(source=SOURCE).values("division"))
    grids = grids.exclude(pk__in=Organisation.objects.exclude(pk__in=organisations.values("pk")).values("division"))
    fences = Fence.objects.filter(versions__made_by__in=users).distinct()
    for rows in (subjects, organisations, users, grids, fences):
        sql, params = rows.order_by().values_list("pk").query.sql_with_params()
        cursor.execute(f"INSERT INTO doomed SELECT '{rows.model._meta.label_lower}', s.* FROM ({sql}) s", params)


def _follow(cursor: Any, link: Link) -> int:
    """Rows that cannot be without a doomed one."""
    column = connection.ops.quote_name(link.column)
    cursor.execute(
        f"INSERT INTO doomed SELECT %s, c.{_pk(link.child)}::text FROM {_table(link.child)} c"
        f" JOIN doomed d ON d.label = %s AND d.pk = c.{column}::text ON CONFLICT DO NOTHING",
        [link.child._meta.label_lower, link.parent._meta.label_lower],
    )
    return int(cursor.rowcount)


def _by_key(cursor: Any) -> int:
    """Deadlines, evidence, notices and events of doomed objects."""
    count = 0
    for model in KEYED:
        cursor.execute(
            f"INSERT INTO doomed SELECT %s, c.{_pk(model)}::text FROM {_table(model)} c"
            f" JOIN doomed d ON c.target = d.label || ':' || d.pk ON CONFLICT DO NOTHING",
            [model._meta.label_lower],
        )
        count += cursor.rowcount
    cursor.execute(
        f"INSERT INTO doomed SELECT DISTINCT %s, c.id::text FROM {_table(Event)} c, unnest(c.targets) t"
        f" JOIN doomed d ON t = d.label || ':' || d.pk ON CONFLICT DO NOTHING",
        [Event._meta.label_lower],
    )
    return count + int(cursor.rowcount)


def _files(cursor: Any) -> list[str]:
    """Evidence files that no row left over will need."""
    cursor.execute(
        f"SELECT file FROM {_table(Evidence)} c GROUP BY file HAVING bool_and(EXISTS("
        f"SELECT 1 FROM doomed d WHERE d.label = %s AND d.pk = c.id::text))",
        [Evidence._meta.label_lower],
    )
    return [row[0] for row in cursor.fetchall()]


def _empty(cursor: Any, link: Link) -> None:
    """Take the doomed one's name out of rows that stay."""
    column, label = connection.ops.quote_name(link.column), link.child._meta.label_lower
    cursor.execute(
        f"UPDATE {_table(link.child)} c SET {column} = NULL FROM doomed d"
        f" WHERE d.label = %s AND d.pk = c.{column}::text"
        f" AND NOT EXISTS (SELECT 1 FROM doomed own WHERE own.label = %s AND own.pk = c.{_pk(link.child)}::text)",
        [link.parent._meta.label_lower, label],
    )


def _delete(cursor: Any) -> int:
    cursor.execute("SELECT DISTINCT label FROM doomed")
    labels = {row[0] for row in cursor.fetchall()}
    count = 0
    # History last: a deletion may itself write some.
    for model in sorted(_tables(), key=lambda m: "pgh_obj" in {f.name for f in m._meta.fields}):
        if model._meta.label_lower in labels:
            cursor.execute(
                f"DELETE FROM {_table(model)} c USING doomed d WHERE d.label = %s AND d.pk = c.{_pk(model)}::text",
                [model._meta.label_lower],
            )
            count += cursor.rowcount
    return count
