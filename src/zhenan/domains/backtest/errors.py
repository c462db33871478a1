"""Why a back-test cannot be made."""

from django.utils.translation import gettext_lazy as _

from zhenan.kernel.errors import DomainError


class UnknownRule(DomainError):
    code = "backtest.unknown_rule"
    message = _("No pack has an alarm rule “{rule}”. {hint}")


class BadRule(DomainError):
    code = "backtest.bad_rule"
    message = _("The judge would refuse this rule: {faults}")


class BadPeriod(DomainError):
    code = "backtest.bad_period"
    message = _("The period must end after it begins, by now at the latest, and last at most {days} days.")


class NoPoints(DomainError):
    code = "backtest.no_points"
    message = _("No device there measures what this rule judges. Choose another division or rule.")


class AlreadyOver(DomainError):
    code = "backtest.already_over"
    message = _("This back-test is “{state}”: there is nothing to stop.")
