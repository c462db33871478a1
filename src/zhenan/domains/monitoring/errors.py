"""What may not be done to alarms and devices, in words for the person who tried."""

from django.utils.translation import gettext_lazy as _

from zhenan.kernel.errors import DomainError


class WrongState(DomainError):
    code = "alarm.wrong_state"
    message = _("This alarm is “{state}”; {action} is possible only for: {allowed}.")


class CauseMissing(DomainError):
    code = "alarm.cause_missing"
    message = _("Judge the cause before closing the alarm.")


class StillRaised(DomainError):
    code = "alarm.still_raised"
    message = _("The readings have not gone back to normal ({value}). A true alarm closes only after they have.")


class NoteMissing(DomainError):
    code = "alarm.note_missing"
    message = _("Say in a few words why: {why}.")


class UnknownCause(DomainError):
    code = "alarm.unknown_cause"
    message = _("“{cause}” is no cause; choose one of: {allowed}.")


class NotAssignable(DomainError):
    code = "alarm.not_assignable"
    message = _("{person} cannot be sent: the alarm is not within their posts.")


class NotYours(DomainError):
    code = "alarm.not_yours"
    message = _("This alarm was given to {person}; only they report arrival.")


class DeviceTaken(DomainError):
    code = "device.taken"
    message = _("A device with the identity {key} ({protocol}) exists already: {name}.")


class KeyRunOut(DomainError):
    code = "key.run_out"
    message = _("A key must be good for some time: “{until}” is not in the future.")


class WrongLimit(DomainError):
    code = "key.wrong_limit"
    message = _("A key may send between 1 and {most} readings a second, and at least as many at once.")


class WrongModel(DomainError):
    code = "device.wrong_model"
    message = _("The model {model} speaks {protocol}; this device speaks {came}.")


class ReasonMissing(DomainError):
    code = "maintenance.reason_missing"
    message = _("Say why: during maintenance nobody is told of an alarm there.")


class BadPeriod(DomainError):
    code = "maintenance.bad_period"
    message = _("From {starts} until {ends}: it must end after it begins and after now, and last at most {days} days.")


class AlreadyOver(DomainError):
    code = "maintenance.already_over"
    message = _("This maintenance is over already, since {ended}.")


class OutOfService(DomainError):
    code = "device.out_of_service"
    message = _("{name} is out of service; it is told nothing.")


class NoPassword(DomainError):
    code = "device.no_password"
    message = _("{name} speaks {protocol}; only the frames of HJ 212 carry a password.")


class BadPassword(DomainError):
    code = "device.bad_password"
    message = _("A password has 1 to 20 letters and digits; the standard has 6.")


class NotPossible(DomainError):
    code = "device.not_possible"
    message = _("{name} cannot be told “{command}”: its protocol or its model does not have it.")


class BadArgument(DomainError):
    code = "device.bad_argument"
    message = _("The command cannot be given so: {faults}.")


class AlreadyAsked(DomainError):
    code = "device.already_asked"
    message = _("“{command}” is under way at {name} already; wait for its end.")


class AlreadyDecided(DomainError):
    code = "device.already_adopted"
    message = _("{key} is adopted already.")


class NoChannels(DomainError):
    code = "device.no_channels"
    message = _("Nothing that {key} was heard to report belongs to the model {model}; choose another model.")


class WhyMissing(DomainError):
    code = "device.reason_missing"
    message = _("Say in a few words why.")


class NoSuggestion(DomainError):
    code = "device.no_suggestion"
    message = _("No model knows what {key} reports; choose one.")


class NoSite(DomainError):
    code = "device.no_site"
    message = _("{why}")
