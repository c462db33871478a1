"""Forms of alarms and devices."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import forms
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from zhenan.domains.monitoring.command_words import ARGUMENTS
from zhenan.domains.monitoring.commands import Offer
from zhenan.domains.monitoring.models import Alarm, Device
from zhenan.domains.register.models import Subject
from zhenan.kernel.evidence.forms import PhotosField, PlacedForm
from zhenan.kernel.people.models import User
from zhenan.kernel.people.queries import with_posts
from zhenan.packkit.registry import registry
from zhenan.telemetry.codecs.commands import Arg


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


def find_subject(text: str, user: User, capability: str = "device.edit") -> Subject:
    """The one subject with this identity or exact name that the user may change. Raises forms.ValidationError."""
    visible = Subject.objects.visible_to(user, capability)
    found = list(visible.filter(key=text)[:2]) or list(visible.filter(name=text)[:2])
    if len(found) != 1:
        words = _("no site has it") if not found else _("several sites have it; give the identity")
        raise forms.ValidationError(f"{text}: {words}")
    return found[0]


def model_choices(protocol: str = "") -> list[tuple[str, str]]:
    """Device models that people can choose, of one protocol or of all."""
    book = registry()
    models = [model for model in book.device_models() if not protocol or model.protocol == protocol]
    return [(model.code, book.label(model.code, kind="device_model")) for model in models]


class AdoptForm(forms.Form):
    """What an unknown device is and where it stands."""

    model = forms.ChoiceField(label=_("Model"))
    subject = forms.CharField(label=_("Site: its identity or exact name"), max_length=200)
    name = forms.CharField(label=_("Name"), max_length=200, required=False)

    def __init__(self, *args: Any, user: User, protocol: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user
        self.fields["model"].choices = model_choices(protocol)  # type: ignore[attr-defined]

    def clean_subject(self) -> Subject:
        return find_subject(self.cleaned_data["subject"].strip(), self.user)


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


class AdoptManyForm(forms.Form):
    """The same for many devices at once: one model or each its suggested one, one site."""

    model = forms.ChoiceField(label=_("Model"), required=False)
    subject = forms.CharField(label=_("Site: its identity or exact name"), max_length=200)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        suggested = [("", _("to each the suggested one"))]
        self.fields["model"].choices = [*suggested, *model_choices()]  # type: ignore[attr-defined]


class ReasonForm(forms.Form):
    reason = forms.CharField(label=_("Why"), max_length=300)


class PasswordForm(forms.Form):
    """What the frames of an HJ 212 logger must carry."""

    rule = forms.ChoiceField(
        label=_("Password of its frames (PW)"),
        choices=[("city", _("the city's")), ("own", _("its own")), ("none", _("not checked"))],
    )
    password = forms.CharField(
        label=_("Its own password"), max_length=20, required=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
    )  # fmt: skip

    @classmethod
    def of(cls, device: Device) -> PasswordForm:
        """As it is set now; the password itself is not shown."""
        known = device.attributes.get("password")
        return cls(initial={"rule": "city" if known is None else "own" if known else "none"})

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if data.get("rule") == "own" and not data.get("password"):
            self.add_error("password", _("Give the password, or choose another rule."))
        return data

    def chosen(self) -> str | None:
        """As ``set_password`` takes it."""
        return {"city": None, "none": ""}.get(self.cleaned_data["rule"], self.cleaned_data["password"])


class CommandForm(forms.Form):
    """The arguments of a command. The bounds are those of the protocol; the service checks them again."""

    def __init__(self, data: Any = None, *, offer: Offer) -> None:
        super().__init__(data, prefix=f"{offer.about.pk}-{offer.code}")
        self.args = offer.args
        for arg in offer.args:
            field = self._field(arg)
            field.label = ARGUMENTS.get(arg.name, arg.name)
            field.initial = offer.given.get(arg.name, arg.default)
            self.fields[arg.name] = field

    @staticmethod
    def _field(arg: Arg) -> forms.Field:
        if arg.kind == "int":
            return forms.IntegerField(min_value=arg.low, max_value=arg.high)
        if arg.kind == "bool":
            return forms.BooleanField(required=False)
        if arg.kind == "time":
            widget = forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M")
            return forms.DateTimeField(widget=widget)
        return forms.CharField(max_length=arg.high)

    def arguments(self) -> dict[str, Any]:
        """As `commands.ask` takes them: times local, without a zone."""
        data = dict(self.cleaned_data)
        for arg in self.args:
            if arg.kind == "time":
                data[arg.name] = timezone.localtime(data[arg.name]).replace(tzinfo=None).isoformat()
        return data
