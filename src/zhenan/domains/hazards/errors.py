"""Why a step of the loop may not be made."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from zhenan.kernel.errors import DomainError


class WrongState(DomainError):
    code = "hazard.wrong_state"
    message = _("Hazard {hazard} is “{state}”; “{action}” is possible when it is: {allowed}.")


class UnknownSource(DomainError):
    code = "hazard.unknown_source"
    message = _("There is no source “{source}”; there are {known}.")


class UnknownSeverity(DomainError):
    code = "hazard.unknown_severity"
    message = _("There is no severity “{severity}”; a hazard is general or major.")


class FoundInTheFuture(DomainError):
    code = "hazard.found_in_the_future"
    message = _("A hazard found at {found_at} lies in the future; it is now {now}.")


class NeedsTitle(DomainError):
    code = "hazard.needs_title"
    message = _("Say in a few words what the hazard is.")


class NeedsCriterion(DomainError):
    code = "hazard.needs_criterion"
    message = _("Grading names the criterion; a major hazard also its code and legal basis. Missing: {missing}.")


class NeedsElements(DomainError):
    code = "hazard.needs_elements"
    message = _(
        "The plan lacks: {missing}. A general hazard wants person, measures and date; a major one all five elements."
    )


class BadDueDate(DomainError):
    code = "hazard.bad_due_date"
    message = _("The date {due} does not do: it must lie between {first} and {last}.")


class NeedsPhotos(DomainError):
    code = "hazard.needs_photos"
    message = _("Photos are missing: {missing}.")


class NeedsNote(DomainError):
    code = "hazard.needs_note"
    message = _("Write what was done or found: {what}.")


class SamePerson(DomainError):
    code = "hazard.same_person"
    message = _("{person} rectified this hazard or submitted the rectification, so somebody else must check it.")


class SameOrganisation(DomainError):
    code = "hazard.same_organisation"
    message = _("A major hazard is checked by another organisation than rectified it, or with {count} experts named.")


class NotTheRectifier(DomainError):
    code = "hazard.not_the_rectifier"
    message = _("{actor} is neither the rectifier nor of those who may rectify here.")


class RectifierGone(DomainError):
    code = "hazard.rectifier_gone"
    message = _("{person} no longer works here; name someone who does.")


class RectifierCannotSee(DomainError):
    code = "hazard.rectifier_has_no_post"
    message = _("{person} holds no post today, and so could not act on the hazard.")


class ExtensionRefused(DomainError):
    code = "hazard.extension_refused"
    message = _("No extension can be asked for: {why}.")


class NoExtensionAsked(DomainError):
    code = "hazard.no_extension_asked"
    message = _("Nobody has asked for an extension of hazard {hazard}.")


class AskerDecides(DomainError):
    code = "hazard.asker_decides"
    message = _("{person} asked for it, so somebody else must decide.")


class NotMajor(DomainError):
    code = "hazard.not_major"
    message = _("Only major hazards are listed for supervision.")


class AlreadyListed(DomainError):
    code = "hazard.already_listed"
    message = _("Hazard {hazard} is under listed supervision already, as {number}.")


class NumberTaken(DomainError):
    code = "hazard.number_taken"
    message = _("The listing number {number} is in use.")


class AlreadySuspended(DomainError):
    code = "hazard.already_suspended"
    message = _("An order to stop is in force already: {order}.")


class NotSuspended(DomainError):
    code = "hazard.not_suspended"
    message = _("No order to stop is in force.")


class NoReviewNeeded(DomainError):
    code = "hazard.no_review_needed"
    message = _("Hazard {hazard} is closed; neither a listing nor an order to stop asks for a review.")


class NotTheReceiver(DomainError):
    code = "hazard.not_the_receiver"
    message = _("The hazard was transferred to {organisation}; only its people receive it.")
