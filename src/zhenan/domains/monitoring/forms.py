"""Forms of alarms and devices."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import forms
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from zhenan.domains.monitoring.models import Alarm, Device
from zhenan.domains.register.models import Subject
from zhenan.kernel.evidence.forms import PhotosField, PlacedForm
from zhenan.kernel.people.models import User
from zhenan.kernel.people.queries import with_posts
from zhenan.packkit.registry import registry


class AssignForm(forms.Form):
    person = forms.ModelChoiceField(User.objects.none(), label=_("Who goes"), empty_label=None)

    def __init__(self, *args: Any, people: list[User], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field: Any = self.fields["person"]
        field.queryset = User.objects.filter(pk__in=[p.pk for p in people])
        words = {p.pk: f"{p} · {p.main_post.role_label if p.main_post else ''}" for p in with_posts(people)}
        field.label_from_instance = lambda user: words[user.pk]


class ArriveForm(PlacedForm):
    photos = PhotosField(label=_("Photos of the scene"), required=True)
    note = forms.CharField(
        label=_("What you see"), widget=forms.Textarea(attrs={"rows": 2}), required=False, max_length=2000
    )


class CauseForm(forms.Form):
    cause = forms.ChoiceField(label=_("Cause"), choices=Alarm.Cause, widget=forms.RadioSelect)
    note = forms.CharField(label=_("Why"), widget=forms.Textarea(attrs={"rows": 2}), required=False, max_length=2000)


class HazardForm(forms.Form):
    title = forms.CharField(label=_("What is wrong"), max_length=200)
    description = forms.CharField(
        label=_("Details"), widget=forms.Textarea(attrs={"rows": 2}), required=False, max_length=4000
    )


class CloseForm(forms.Form):
    note = forms.CharField(label=_("Note"), widget=forms.Textarea(attrs={"rows": 2}), required=False, max_length=2000)


class AdoptForm(forms.Form):
    """Unknown devices of one protocol, the model that they are, and the subject they stand at."""

    protocol = forms.CharField(widget=forms.HiddenInput)
    keys = forms.MultipleChoiceField(label=_("Devices"))
    model = forms.ChoiceField(label=_("Model"))
    subject = forms.CharField(label=_("Site: its identity or exact name"), max_length=200)

    def __init__(self, *args: Any, user: User, protocol: str, keys: list[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user
        models = [m for m in registry().device_models() if m.protocol == protocol]
        choices: list[tuple[str, str]] = [(m.code, registry().label(m.code, kind="device_model")) for m in models]
        self.fields["model"].choices = choices  # type: ignore[attr-defined]
        self.fields["keys"].choices = [(key, key) for key in keys]  # type: ignore[attr-defined]

    def clean_subject(self) -> Subject:
        text = self.cleaned_data["subject"].strip()
        visible = Subject.objects.visible_to(self.user, "device.edit")
        found = list(visible.filter(key=text)[:2]) or list(visible.filter(name=text)[:2])
        if len(found) != 1:
            words = _("no site has it") if not found else _("several sites have it; give the identity")
            raise forms.ValidationError(f"{text}: {words}")
        return found[0]


class MaintenanceForm(forms.Form):
    """What to silence (a device, a site, or a whole programme), why, and from when until when."""

    device = forms.CharField(label=_("Device: its identity"), max_length=64, required=False)
    site = forms.CharField(label=_("Or a site: its identity or exact name"), max_length=200, required=False)
    programme = forms.ChoiceField(label=_("Or a whole programme"), required=False)
    reason = forms.CharField(label=_("Reason"), max_length=300, widget=forms.Textarea(attrs={"rows": 2}))
    starts_at = forms.DateTimeField(label=_("From"), widget=forms.DateTimeInput(attrs={"type": "datetime-local"}))
    ends_at = forms.DateTimeField(label=_("Until"), widget=forms.DateTimeInput(attrs={"type": "datetime-local"}))

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user
        book = registry()
        programmes = [("", "–"), *((code, book.label(code, kind="pack")) for code in book.packs)]
        self.fields["programme"].choices = programmes  # type: ignore[attr-defined]
        now = timezone.localtime()
        for name, hours in (("starts_at", 0), ("ends_at", 4)):
            self.fields[name].initial = (now + timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M")

    def clean_device(self) -> Device | None:
        return self._one(Device, self.cleaned_data["device"], ("key", "name"), _("no device has it"))

    def clean_site(self) -> Subject | None:
        return self._one(Subject, self.cleaned_data["site"], ("key", "name"), _("no site has it"))

    def _one(self, model: Any, text: str, names: tuple[str, ...], none: Any) -> Any:
        if not text.strip():
            return None
        visible = model.objects.visible_to(self.user, "alarm.silence")
        for name in names:
            found = list(visible.filter(**{name: text.strip()})[:2])
            if len(found) == 1:
                return found[0]
            if found:
                raise forms.ValidationError(f"{text}: {_('several have it; give the identity')}")
        raise forms.ValidationError(f"{text}: {none}")

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        named = [name for name in ("device", "site", "programme") if data.get(name)]
        if not self.errors and len(named) != 1:
            raise forms.ValidationError(_("Name one of them: a device, a site, or a programme."))
        return data
