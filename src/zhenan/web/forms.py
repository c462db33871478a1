"""Forms of the people pages."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from zhenan.kernel.people.models import Organisation
from zhenan.kernel.people.roles import role_choices
from zhenan.kernel.territory.models import Division

DAY = forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")


class DivisionField(forms.ModelChoiceField):
    """A division down to the town, indented by its depth."""

    def __init__(self, **kwargs: Any) -> None:
        rows = Division.objects.filter(level__in=["city", "county", "town"], active=True).order_by("path")
        super().__init__(rows, label=kwargs.pop("label", _("Division")), **kwargs)

    def label_from_instance(self, obj: Any) -> str:
        depth = {"city": 0, "county": 1, "town": 2}[obj.level]
        return f"{'　' * depth}{obj.name}"


class PersonForm(forms.Form):
    username = forms.RegexField(
        r"^[\w.@+-]{3,60}$", label=_("Sign-in name"), help_text=_("3 to 60 letters, digits and . @ + - _")
    )
    name = forms.CharField(label=_("Full name"), max_length=100)
    phone = forms.RegexField(r"^[0-9+ -]{3,40}$", label=_("Phone"), required=False)
    language = forms.ChoiceField(label=_("Language"), choices=settings.LANGUAGES)
    password = forms.CharField(
        label=_("First password"), widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text=_("At least 10 characters; the person changes it after the first sign-in."),
    )  # fmt: skip


class PasswordForm(forms.Form):
    password = forms.CharField(
        label=_("New first password"),
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text=_("At least 10 characters; the person changes it after the first sign-in."),
    )


class OrganisationForm(forms.Form):
    code = forms.RegexField(r"^[\w.:-]{1,60}$", label=_("Code"), help_text=_("A credit code, or any stable short code"))
    name = forms.CharField(label=_("Organisation name"), max_length=200)
    kind = forms.RegexField(
        r"^[a-z][a-z0-9_]{1,39}$", label=_("Kind"), help_text=_("A word such as enterprise or town_office")
    )
    division = DivisionField()
    phone = forms.RegexField(r"^[0-9+ -]{3,40}$", label=_("Phone"), required=False)


class PostForm(forms.Form):
    organisation_code = forms.CharField(label=_("Code of the organisation"), max_length=60)
    role = forms.ChoiceField(label=_("Role"), choices=role_choices)
    division = DivisionField(label=_("Area of responsibility"))
    title = forms.CharField(label=_("Job title"), max_length=100, required=False)
    since = forms.DateField(label=_("From"), widget=DAY, initial=timezone.localdate)
    until = forms.DateField(label=_("Until (not included)"), widget=DAY, required=False)

    def clean_organisation_code(self) -> str:
        code = self.cleaned_data["organisation_code"].strip()
        found = Organisation.objects.filter(code=code).first()
        if found is None:
            raise forms.ValidationError(_("No organisation has the code “%(code)s”."), params={"code": code[:40]})
        self.organisation = found
        return code

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if data.get("since") and data.get("until") and data["until"] <= data["since"]:
            self.add_error("until", _("This day must be after the first one."))
        return data
