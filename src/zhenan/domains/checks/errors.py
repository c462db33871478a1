"""What an inspection may not be, in words for the person who tried."""

from django.utils.translation import gettext_lazy as _

from zhenan.kernel.errors import DomainError


class WrongChecklist(DomainError):
    code = "inspection.wrong_checklist"
    message = _("The checklist “{checklist}” is not for a {type}.")


class NotUnderWay(DomainError):
    code = "inspection.not_under_way"
    message = _("This inspection is “{state}”; only one under way can be changed.")


class AnotherInspector(DomainError):
    code = "inspection.another_inspector"
    message = _("{person} carries out this inspection.")


class AnswersMissing(DomainError):
    code = "inspection.answers_missing"
    message = _("{count} items have no answer yet: {items}.")


class EvidenceMissing(DomainError):
    code = "inspection.evidence_missing"
    message = _("A photo or document is needed for: {items}.")


class AnswerNotAllowed(DomainError):
    code = "inspection.answer_not_allowed"
    message = _("{problem}")
