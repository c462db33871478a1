"""The problems of the last months from which hazards are made: failed items, true alarms, reports by the public."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from zhenan.domains.hazards.models.hazard import Severity
from zhenan.domains.monitoring.models import Alarm
from zhenan.domains.register.models import Subject
from zhenan.kernel.events.models import key_of
from zhenan.kernel.people.models import User
from zhenan.packkit import hazard_words
from zhenan.packkit.registry import registry
from zhenan.server.demo.inspections import Found
from zhenan.server.demo.plan import HISTORY_DAYS, SOURCE, Demo

PUBLIC = 500  # reports by the public in the months shown, at full scale
RUMOURS = (
    "疏散通道堆放杂物",
    "楼道内有电动自行车充电",
    "店内有较重煤气味",
    "消防栓被遮挡",
    "线路私拉乱接",
    "安全出口上锁",
)
# What was done, by a word of the title; the last one fits everything.
MEASURES = (
    (("软管", "接口", "漏"), "更换不锈钢波纹软管并做接口检漏", "停用该灶具，关闭前置阀"),
    (("报警", "探测", "切断", "联动"), "检修报警切断装置并做联动测试", "专人值守，营业期间开窗通风"),
    (("通道", "出口", "门窗", "堆"), "清除堆物，恢复通道净宽并张贴标识", "安排人员疏导，暂停占用区域经营"),
    (("气瓶", "存放", "易燃"), "清退超量气瓶和易燃物，设独立存放间", "将气瓶移至室外通风处"),
    (("线路", "用电", "电流", "温度", "负荷"), "由持证电工更换线路并穿管保护", "切断该回路电源"),
    (("水", "压"), "检修管网和阀门，恢复水压水位", "增配灭火器，每两小时巡查一次"),
    (("培训", "演练", "制度", "责任", "台账", "记录"), "完善制度台账，组织全员培训", "由负责人每日自查并签字"),
    ((), "按标准逐项整改，完成后自查并拍照", "设警示标识，专人看护至整改完成"),
)


@dataclass(frozen=True)
class Case:
    """A problem found: everything that a hazard begins with."""

    subject: Subject
    source: str
    source_key: str
    title: str
    severity: str
    found_at: datetime
    by: User | None
    criterion_code: str = ""
    criterion_text: str = ""
    legal_basis: str = ""
    description: str = ""
    location: str = ""
    answer_pk: int | None = None
    alarm: Alarm | None = None
    fate: str = ""  # what became of it, where that is not left to chance

    @property
    def key(self) -> str:
        """The same at every build: what the draws about this case depend on."""
        return f"{self.subject.key}/{self.source}/{self.criterion_code or self.title}/{self.found_at.isoformat()}"

    @property
    def major(self) -> bool:
        return self.severity == Severity.MAJOR

    @property
    def cure(self) -> tuple[str, str]:
        """(measures, interim measures) that suit the title."""
        return next((m, i) for words, m, i in MEASURES if not words or any(word in self.title for word in words))


def gather(demo: Demo, found: Sequence[Found], alarms: Sequence[Alarm]) -> list[Case]:
    """All cases, the oldest first."""
    cases = [*map(_from_item, found), *(_from_alarm(alarm) for alarm in alarms), *_from_public(demo)]
    return sorted(cases, key=lambda case: (case.found_at, case.key))


def _from_item(found: Found) -> Case:
    return Case(
        subject=found.visit.contract.subject,
        source="inspection",
        source_key=key_of(found.answer),
        severity=found.item.severity_if_failed,
        found_at=found.visit.made_at,
        by=found.visit.person,
        description=found.answer.note,
        answer_pk=found.answer.pk,
        **hazard_words.of_failed_item(found.checklist.code, found.item.code),
    )


def _from_alarm(alarm: Alarm) -> Case:
    rule = registry().alarm_rule(alarm.rule)
    return Case(
        subject=alarm.subject,
        source="alarm",
        source_key=key_of(alarm),
        severity=str(rule.hazard or Severity.GENERAL),
        found_at=alarm.judged_at or alarm.raised_at,
        by=alarm.judged_by,
        description=alarm.note,
        alarm=alarm,
        **hazard_words.of_alarm(alarm.rule),
    )


def _from_public(demo: Demo) -> Iterator[Case]:
    places = Subject.objects.filter(source=SOURCE, owner=None)  # nobody scans the code of a passing vehicle
    subjects = places.select_related("division").defer("division__boundary").order_by("pk")
    pks = list(subjects.values_list("pk", flat=True))
    rng = demo.rng("public")
    chosen = rng.integers(0, len(pks), max(4, round(PUBLIC * demo.scale)))
    rows = subjects.in_bulk([pks[int(place)] for place in chosen])
    for number, place in enumerate(chosen):
        found_at = demo.day_time(1 + int(rng.integers(0, HISTORY_DAYS - 2)), "public", number, first=7.0, last=21.0)
        yield Case(
            subject=rows[pks[int(place)]],
            source="public",
            source_key=f"demo.public:{number}",
            title=demo.one_of(RUMOURS, "rumour", number),
            severity=Severity.GENERAL,
            found_at=found_at - timedelta(minutes=number % 50),
            by=None,
            criterion_text="群众举报，现场核查属实",
            description="扫码举报（演示）",
        )
