"""Forms of contracts and visits."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from zhenan.domains.duty.models import level_choices
from zhenan.kernel.evidence.forms import PhotosField, PlacedForm
from zhenan.kernel.people.forms import PersonField

CADENCE = _("Empty: what the programme asks for; 0: no visits.")


def day_field(label: Any, *, required: bool = True, help_text: Any = "") -> forms.DateField:
    return forms.DateField(
        label=label,
        required=required,
        help_text=help_text,
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
    )


class SignForm(forms.Form):
    level = forms.ChoiceField(label=_("Level"))
    person = PersonField(label=_("Person"))
    begins_on = day_field(_("From"))
    ends_on = day_field(_("Until (this day not included)"), required=False, help_text=_("Empty: until ended."))
    visit_every_days = forms.IntegerField(
        label=_("Visit every (days)"), min_value=0, max_value=1000, required=False, help_text=CADENCE
    )
    source = forms.CharField(label=_("Document"), max_length=120, required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["level"].choices = level_choices()  # type: ignore[attr-defined]
        self.fields["begins_on"].initial = timezone.localdate


class ManyForm(forms.Form):
    """One person for many subjects at the level of the page."""

    person = PersonField(label=_("Person"))
    begins_on = day_field(_("From"))
    visit_every_days = forms.IntegerField(
        label=_("Visit every (days)"), min_value=0, max_value=1000, required=False, help_text=CADENCE
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["begins_on"].initial = timezone.localdate


class HandOverForm(forms.Form):
    to = PersonField(label=_("Hand over to"))
    on = day_field(_("From"))
    reason = forms.CharField(label=_("Reason"), max_length=300, required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["on"].initial = timezone.localdate


class EndForm(forms.Form):
    ends_on = day_field(_("First day on which it no longer holds"))
    reason = forms.CharField(label=_("Reason"), max_length=300)


class WithdrawForm(forms.Form):
    reason = forms.CharField(label=_("Reason"), max_length=300)


class VisitForm(PlacedForm):
    photos = PhotosField(label=_("Photos"))
    note = forms.CharField(
        label=_("What was seen"), required=False, widget=forms.Textarea(attrs={"rows": 3}), max_length=4000
    )
    visit_id = forms.UUIDField(required=False, widget=forms.HiddenInput)


class DayForm(forms.Form):
    day = forms.DateField(
        widget=forms.DateInput(attrs={"type": "date", "class": "form-control w-auto"}, format="%Y-%m-%d")
    )
