"""Contracts from a file: person, subject, level, from, to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from zhenan.domains.duty.bulk import Wanted, sign_many
from zhenan.domains.duty.models import Contract, level_choices, level_label
from zhenan.domains.duty.services import new_contract, taken
from zhenan.domains.register.models import Subject
from zhenan.kernel.errors import DomainError
from zhenan.kernel.imports import parse
from zhenan.kernel.imports.specs import Context, ImportColumn, ImportSpec, Row, Verdict, refused
from zhenan.kernel.people.models import User
from zhenan.packkit.vocabulary import vocabulary


class BulkRefused(DomainError):
    code = "duty.bulk_refused"
    message = gettext_lazy("Row {line}: {why}")


def level_words() -> dict[str, str]:
    """Every way of writing a level → its code."""
    words = vocabulary().contract_levels
    return {parse.folded(w).casefold(): code for code, word in words.items() for w in (code, word.zh, word.en)}


class ContractSpec(ImportSpec):
    """A row signs one contract. A row whose contract stands already changes nothing."""

    code = "contract"
    label = gettext_lazy("Contracts of responsibility")
    help = gettext_lazy("One person answers for one subject at one level; who is in the way is named row by row.")
    capability = "contract.edit"

    def __init__(self) -> None:
        self.columns = [
            ImportColumn("subject", gettext_lazy("subject"), ("对象编号", "对象", "单位编号", "subject", "key"),
                         required=True, filled=True, parse=parse.text(200), help=gettext_lazy("identity or name")),
            ImportColumn("level", gettext_lazy("level"), ("层级", "包干层级", "level"), required=True, filled=True,
                         parse=parse.choice(level_words())),
            ImportColumn("person", gettext_lazy("person"), ("责任人", "包干人", "用户名", "手机号", "person"),
                         required=True, filled=True, parse=parse.text(150), help=gettext_lazy("user name or phone")),
            ImportColumn("begins_on", gettext_lazy("From"), ("起始日期", "开始日期", "自", "from"), parse=parse.day),
            ImportColumn("ends_on", gettext_lazy("Until"), ("截止日期", "结束日期", "至", "until"), parse=parse.day),
            ImportColumn("visit_every_days", gettext_lazy("Visit every (days)"), ("走访周期", "巡查周期", "days"),
                         parse=lambda cell: parse.integer(cell, low=0, high=1000)),
            ImportColumn("source", gettext_lazy("Document"), ("文件", "依据", "source"), parse=parse.text(120)),
        ]  # fmt: skip

    def key_of(self, values: Mapping[str, Any]) -> str:
        return "|".join(str(values.get(name) or "") for name in ("subject", "level", "begins_on"))

    def judge(self, rows: Sequence[Row], context: Context) -> list[Verdict]:
        subjects, people = self._subjects(rows), self._people(rows)
        editable = self._editable(subjects, context.actor)
        return [self._verdict(row, subjects, people, editable, context) for row in rows]

    def _verdict(
        self,
        row: Row,
        subjects: dict[str, list[Subject]],
        people: dict[str, list[User]],
        editable: set[int] | None,
        context: Context,
    ) -> Verdict:
        named, who = str(row.values["subject"]), str(row.values["person"])
        found, persons = subjects.get(named, []), people.get(who, [])
        if len(found) != 1:
            text = (
                _("no subject has the identity or name “%(came)s”")
                if not found
                else _("several subjects are “%(came)s”")
            )
            return refused(text % {"came": named[:60]}, title=named)
        if len(persons) != 1:
            text = (
                _("nobody has the user name or phone “%(came)s”")
                if not persons
                else _("several people have “%(came)s”")
            )
            return refused(text % {"came": who[:60]}, title=named)
        subject, person = found[0], persons[0]
        if editable is not None and subject.pk not in editable:
            return refused(_("The subject lies outside the area or programme that you may change."), title=named)
        wanted = Wanted(
            subject=subject, level=row.values["level"], person=person,
            begins_on=row.values.get("begins_on") or timezone.localdate(context.at), ends_on=row.values.get("ends_on"),
            visit_every_days=row.values.get("visit_every_days"),
            source=row.values.get("source") or context.file_name[:120],
        )  # fmt: skip
        return self._compared(wanted, context)

    def _compared(self, wanted: Wanted, context: Context) -> Verdict:
        title = f"{wanted.subject} · {level_label(wanted.level)}"
        try:
            contract = new_contract(**vars(wanted), by=context.actor, at=context.at)
        except DomainError as err:
            return refused(err, title=title)
        held = Contract.objects.filter(
            subject=wanted.subject, level=wanted.level, period__overlap=contract.period
        ).first()
        if held is None:
            return Verdict("create", (), title, wanted)
        same = (
            held.person_id == wanted.person.pk and held.begins_on == wanted.begins_on and held.ends_on == wanted.ends_on
        )
        return Verdict("unchanged", (), title) if same else refused(taken(contract), title=title)

    def apply(self, judged: Sequence[tuple[Row, Verdict]], context: Context) -> None:
        results = sign_many([verdict.payload for _row, verdict in judged], by=context.actor, at=context.at)
        for (row, _verdict), result in zip(judged, results, strict=True):
            if result.contract is None:  # someone signed between judging and writing
                raise BulkRefused(line=row.line, why=result.error)

    def export(self, actor: User | None) -> Iterator[Mapping[str, Any]]:
        rows = Contract.objects.all() if actor is None else Contract.objects.visible_to(actor)
        words = dict(level_choices())
        for one in rows.select_related("subject", "person").order_by("pk").iterator(chunk_size=2000):
            yield {
                "subject": one.subject.key, "level": words.get(one.level, one.level), "person": one.person.username,
                "begins_on": one.begins_on, "ends_on": one.ends_on, "visit_every_days": one.visit_every_days or 0,
                "source": one.source,
            }  # fmt: skip

    @staticmethod
    def _subjects(rows: Sequence[Row]) -> dict[str, list[Subject]]:
        """Subjects by key, or by name where no key fits: one query."""
        named = {str(row.values["subject"]) for row in rows}
        found: dict[str, list[Subject]] = {}
        by_name: dict[str, list[Subject]] = {}
        matching = Subject.objects.filter(Q(key__in=named) | Q(name__in=named)).select_related("division")
        for subject in matching:
            if subject.key in named:
                found.setdefault(subject.key, []).append(subject)
            if subject.name in named and subject.name != subject.key:
                by_name.setdefault(subject.name, []).append(subject)
        return by_name | found

    @staticmethod
    def _people(rows: Sequence[Row]) -> dict[str, list[User]]:
        """Active people by user name, or by phone: one query."""
        named = {str(row.values["person"]) for row in rows}
        found: dict[str, list[User]] = {}
        for user in User.objects.filter(Q(username__in=named) | Q(phone__in=named), is_active=True):
            for name in {user.username, user.phone} & named:
                found.setdefault(name, []).append(user)
        return found

    @staticmethod
    def _editable(subjects: dict[str, list[Subject]], actor: User | None) -> set[int] | None:
        if actor is None:
            return None
        pks = {subject.pk for several in subjects.values() for subject in several}
        return set(Subject.objects.visible_to(actor, "contract.edit").filter(pk__in=pks).values_list("pk", flat=True))


def specs() -> list[ImportSpec]:
    return [ContractSpec()]
