"""Why a back-test cannot be made."""

from django.utils.translation import gettext_lazy as _

from zhenan.kernel.errors import DomainError


class UnknownRule(DomainError):
    code = "backtest.unknown_rule"
    message = _("No pack has an alarm rule “{rule}”. {hint}")


class UnknownFence(DomainError):
    code = "backtest.unknown_fence"
    message = _("There is no one fence “{fence}” that you may see; give its number, or its name where no other has it.")


class UnknownVersion(DomainError):
    code = "backtest.unknown_version"
    message = _("The fence has no version “{version}”; there are: {known}.")


class BadRule(DomainError):
    code = "backtest.bad_rule"
    message = _("The judge would refuse this rule: {faults}")


class BadFence(DomainError):
    code = "backtest.bad_fence"
    message = _("The judge would refuse this fence: {faults}")


class BadPeriod(DomainError):
    code = "backtest.bad_period"
    message = _(
        "The period must end after it begins, by now at the latest, and last at most {days} days; "
        "asked for was {since} to {until}."
    )


class NoPoints(DomainError):
    code = "backtest.no_points"
    message = _("No device there measures what this rule judges. Choose another division or rule.")


class NoVehicles(DomainError):
    code = "backtest.no_vehicles"
    message = _("No vehicle there reports its position. Choose another division.")


class EmptyHistory(DomainError):
    code = "backtest.empty_history"
    message = _("Nothing is recorded of them in this period. What is recorded lies between {first} and {last}.")


class NoHistory(DomainError):
    code = "backtest.no_history"
    message = _("Nothing is recorded yet.")


class AlreadyOver(DomainError):
    code = "backtest.already_over"
    message = _("This back-test is “{state}”: there is nothing to stop.")
