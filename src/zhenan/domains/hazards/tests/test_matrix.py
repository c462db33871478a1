"""Every state × every step × every role: it changes the hazard as the rules say, or raises and writes nothing.

The table of who may do what is written here by hand from the hazard rules (2.4), apart from the product's own.
"""

import pytest
from django.db import connection, transaction

from zhenan.domains.hazards import services
from zhenan.domains.hazards.actions import ACTIONS
from zhenan.domains.hazards.models.hazard import State
from zhenan.domains.hazards.tests.conftest import DAY, PLAN, photo
from zhenan.kernel.errors import DomainError

OFFICES = {"town_officer_here", "town_officer_2_here", "district_officer_here", "city_officer", "gas_department"}
SUPERVISORS = {"district_officer_here", "city_officer", "gas_department"}
UNIT = {"enterprise_head_here", "enterprise_safety_here"}
WORKING = {"rectifying", "rejected", "suspended_operation"}
# step → (states from which, who, state after; "" stays)
GENERAL = {
    "grade": ({"found", "graded"}, OFFICES, "graded"),
    "assign": ({"graded", "plan_pending"} | WORKING, OFFICES | {"enterprise_head_here"}, None),
    "plan": ({"plan_pending"}, UNIT, "rectifying"),
    "submit": (WORKING, UNIT, "rectified_pending_check"),
    "accept": ({"rectified_pending_check"}, OFFICES, "accepted"),
    "reject": ({"rectified_pending_check"}, OFFICES, "rejected"),
    "ask_extension": (WORKING, UNIT, ""),
    "decide_extension": (set(), set(), ""),
    "suspend": ({"plan_pending", "rectifying", "rejected"}, OFFICES, "suspended_operation"),
    "resume": ({"suspended_operation"}, OFFICES, "rectifying"),
    "list": (set(), set(), ""),
    "apply": (set(), set(), ""),
    "delist": ({"gov_review_pending"}, SUPERVISORS, "delisted"),
    "refuse_delisting": ({"gov_review_pending"}, SUPERVISORS, "rejected"),
    "transfer": ({"found", "graded", "plan_pending"} | WORKING, OFFICES, "transferred"),
    "receive": ({"transferred"}, {"gas_department"}, "found"),
}
MAJOR = GENERAL | {
    "ask_extension": (set(), set(), ""),  # only under listed supervision
    "list": ({"graded", "plan_pending", "rectified_pending_check"} | WORKING, SUPERVISORS, ""),
}


def do(action, hazard, user, loop):
    """The step with everything given that it wants."""
    at, day = loop.at, (loop.at + 5 * DAY).date()
    given = {
        "grade": lambda: services.grade_hazard(
            hazard.pk, severity=hazard.severity, criterion_code="c", legal_basis="law", by=user, at=at
        ),
        "assign": lambda: services.assign(hazard.pk, rectifier=loop.p["enterprise_head_here"], by=user, at=at),
        "plan": lambda: services.fill_plan(hazard.pk, by=user, at=at, due_on=day, **PLAN),
        "submit": lambda: services.submit_rectification(hazard.pk, note="done", after=[photo("blue")], by=user, at=at),
        "accept": lambda: services.accept(hazard.pk, note="seen", by=user, at=at),
        "reject": lambda: services.reject(hazard.pk, note="not done", by=user, at=at),
        "ask_extension": lambda: services.request_extension(hazard.pk, days=10, reason="parts", by=user, at=at),
        "decide_extension": lambda: services.decide_extension(hazard.pk, granted=True, note="", by=user, at=at),
        "suspend": lambda: services.suspend_operation(hazard.pk, order_number="S-9", reason="danger", by=user, at=at),
        "resume": lambda: services.resume_operation(hazard.pk, note="safe", by=user, at=at),
        "list": lambda: services.list_for_supervision(
            hazard.pk, number="L-9", body="city", due_on=day, leader_name="Li", by=user, at=at
        ),
        "apply": lambda: services.apply_for_review(hazard.pk, application="please", by=user, at=at),
        "delist": lambda: services.delist(hazard.pk, finding="sound", notice_number="N-9", by=user, at=at),
        "refuse_delisting": lambda: services.refuse_delisting(hazard.pk, finding="unsound", by=user, at=at),
        "transfer": lambda: services.transfer(
            hazard.pk, to=loop.p.organisations["housing"], reason="theirs", by=user, at=at
        ),
        "receive": lambda: services.receive_transfer(hazard.pk, by=user, at=at),
    }
    return given[action]()


class Writes:
    """Counts the statements of a block that change rows."""

    def __init__(self):
        self.count = 0

    def __call__(self, execute, sql, params, many, context):
        self.count += sql.lstrip().upper().startswith(("INSERT", "UPDATE", "DELETE"))
        return execute(sql, params, many, context)


def test_the_table_names_every_step():
    assert set(GENERAL) == set(ACTIONS)


@pytest.mark.parametrize("severity", ["general", "major"])
@pytest.mark.parametrize("state", [str(s) for s in State])
def test_each_step_is_made_by_those_who_may_and_by_nobody_else(loop, state, severity):
    hazard = loop.to(state, severity)
    people = {name: loop.p[name] for name in loop.p.users}
    wrong = []
    for action, (sources, who, after) in (MAJOR if severity == "major" else GENERAL).items():
        for name, user in people.items():
            allowed = state in sources and name in who
            error, writes = None, Writes()
            try:
                with transaction.atomic(), connection.execute_wrapper(writes):
                    do(action, hazard, user, loop)
                    reached = loop.fresh(hazard).state
                    transaction.set_rollback(True)
            except DomainError as err:
                error = err
            if allowed == (error is not None):
                wrong.append(f"{name} {action}: {error or 'done'}")
            elif error is not None and writes.count:
                wrong.append(f"{name} {action}: refused, but wrote")
            elif error is None and after and reached != after:
                wrong.append(f"{name} {action}: led to {reached}")
    assert wrong == []
