"""The classes of vehicles and goods that fences choose by: what packs declare, and what vehicles have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _

from zhenan.domains.monitoring.models import Device
from zhenan.domains.transport.errors import UnknownClass
from zhenan.packkit.registry import registry

CLASS, GOODS = "vehicle_class", "goods_class"  # attributes of the subject that a terminal is mounted on
FIELDS = {"vehicle_classes": CLASS, "goods_classes": GOODS}  # a fence's terms → the attribute that they choose by
LABELS = {"vehicle_classes": _("Vehicle classes"), "goods_classes": _("Goods classes")}


def words_known(attribute: str) -> list[tuple[str, str]]:
    """(code, name) of every choice that a pack declares for the attribute."""
    lang = get_language() or "zh-hans"
    fields = [found for kind in registry().subject_types() if (found := kind.field(attribute))]
    return [(choice.code, choice.name.label(lang)) for one in fields for choice in one.choices]


def classes_known(attribute: str) -> dict[str, str]:
    """Name by code of every class that a fence may name; one that only vehicles have goes by its code."""
    found = dict(words_known(attribute))
    rows = Device.objects.filter(protocol="jt808").values_list(f"subject__attributes__{attribute}", flat=True)
    had = {str(word) for word in rows.order_by().distinct() if word not in (None, "")}
    return found | {word: word for word in sorted(had - found.keys())}


def check_classes(terms: Mapping[str, Any], *, kept: Iterable[Mapping[str, Any]] = ()) -> None:
    """Raises UnknownClass for a class that no pack declares and no vehicle has; those of `kept` terms may stay."""
    for name, attribute in FIELDS.items():
        before = {word for one in kept for word in one.get(name, ())}
        strange = [word for word in terms.get(name, ()) if word not in before]
        known = classes_known(attribute) if strange else {}
        unknown = [word for word in strange if word not in known]
        if unknown:
            listed = ", ".join(code if code == word else f"{code} ({word})" for code, word in known.items())
            raise UnknownClass(what=LABELS[name], word=", ".join(unknown)[:200], known=listed or "–")
