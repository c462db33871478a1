"""Every change of a hazard. Pages, API, checks, monitoring and commands call these and nothing else.

Each locks the row, judges who may and from which state (actions.py), changes, records an event on hazard, subject and
source, moves the clocks and tells people, in one transaction; or raises a DomainError and changes nothing.
``by`` None is the platform itself; ``at`` is when it happened.
"""

from zhenan.domains.hazards.orders import (
    apply_for_review,
    decide_extension,
    delist,
    list_for_supervision,
    receive_transfer,
    refuse_delisting,
    reown,
    request_extension,
    resume_operation,
    suspend_operation,
    transfer,
)
from zhenan.domains.hazards.rectifying import PLAN_FIELDS, accept, assign, fill_plan, reject, submit_rectification
from zhenan.domains.hazards.reporting import grade_hazard, report_fixed_on_spot, report_hazard

__all__ = [
    "PLAN_FIELDS",
    "accept",
    "apply_for_review",
    "assign",
    "decide_extension",
    "delist",
    "fill_plan",
    "grade_hazard",
    "list_for_supervision",
    "receive_transfer",
    "refuse_delisting",
    "reject",
    "reown",
    "report_fixed_on_spot",
    "report_hazard",
    "request_extension",
    "resume_operation",
    "submit_rectification",
    "suspend_operation",
    "transfer",
]
