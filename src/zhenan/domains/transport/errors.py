"""What may not be done to fences, in words for the person who tried."""

from django.utils.translation import gettext_lazy as _

from zhenan.kernel.errors import DomainError


class NoFence(DomainError):
    code = "fence.invalid"
    message = _("This is no fence: {why}.")


class FenceEnded(DomainError):
    code = "fence.ended"
    message = _("This fence has ended; make a new one.")


class NotBefore(DomainError):
    code = "fence.not_before"
    message = _("A new version begins after the one before it ({before}); the past stays as it was judged.")


class TooManyClasses(DomainError):
    code = "fence.too_many_classes"
    message = _("Fences name at most 63 different classes altogether.")


class UnknownClass(DomainError):
    code = "fence.unknown_class"
    message = _("{what}: no programme names “{word}” and no vehicle has it. Known are: {known}.")


WORDS = {
    "points": _("it has too few, too many or equal points"),
    "crossing": _("its sides cross or touch each other"),
    "flat": _("it has no area"),
    "range": _("its points are not places between 80° south and north"),
    "extent": _("it spans more than 3 degrees"),
    "radius": _("its radius is not 1 m to 100 km"),
    "width": _("half its width is not 1 m to 20 km"),
    "size": _("a polygon has no radius"),
    "speed": _("its speed limit is not above 0, up to 200 km/h"),
    "dwell": _("its longest stay is not 1 second to 30 days"),
    "hysteresis": _("its hysteresis is not 0 to 1000 m"),
    "validity": _("it ends before it begins"),
    "window_days": _("a time window names no day"),
    "window_times": _("a time window has no times of a day"),
    "shape": _("its shape is unknown"),
}
