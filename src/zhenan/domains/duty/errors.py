"""Why a contract or a visit may not be recorded."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from zhenan.kernel.errors import DomainError


class UnknownLevel(DomainError):
    code = "duty.unknown_level"
    message = _("There is no contract level “{level}”; there are {known}.")


class LevelTaken(DomainError):
    code = "duty.level_taken"
    message = _("{person} already answers for {subject} at {level} level from {begins} to {ends}.")


class BadPeriod(DomainError):
    code = "duty.bad_period"
    message = _("A contract from {begins} to {ends} has no day; it must end after it begins.")


class PersonGone(DomainError):
    code = "duty.person_gone"
    message = _("{person} no longer works here; name someone who does.")


class NotInForce(DomainError):
    code = "duty.not_in_force"
    message = _("The contract of {person} for {subject} does not hold on {day}.")


class AlreadyEnded(DomainError):
    code = "duty.already_ended"
    message = _("The contract ended on {day} already.")


class HasVisits(DomainError):
    code = "duty.has_visits"
    message = _("{count} visits were made under this contract; end it instead of withdrawing it.")


class SamePerson(DomainError):
    code = "duty.same_person"
    message = _("{person} holds this contract already; name someone else.")


class NotTheirVisit(DomainError):
    code = "duty.not_their_visit"
    message = _("Only {person} records visits under this contract.")


class NoProof(DomainError):
    code = "duty.no_proof"
    message = _("A visit is proved by a place or a photo; neither was sent.")


class InTheFuture(DomainError):
    code = "duty.in_the_future"
    message = _("A visit at {made_at} lies in the future; it is now {now}.")


class NobodyInPost(DomainError):
    code = "duty.nobody_in_post"
    message = _("No post covers {subject} at {level} level; name a person.")


class SeveralInPost(DomainError):
    code = "duty.several_in_post"
    message = _("{count} posts cover {subject} at {level} level ({people}); name one of them.")
