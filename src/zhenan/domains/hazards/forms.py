"""Forms of the loop: one for each step, in the order of actions.py."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from zhenan.domains.hazards.models import Hazard, Supervision
from zhenan.domains.hazards.models.hazard import Severity
from zhenan.domains.register.models import Subject
from zhenan.kernel.evidence.forms import PhotosField, PlacedForm
from zhenan.kernel.people.forms import PersonField
from zhenan.kernel.people.models import Organisation
from zhenan.packkit.registry import registry
from zhenan.packkit.vocabulary import vocabulary

TALL = forms.Textarea(attrs={"rows": 3})
USUAL = _("Empty: the usual period.")


def day_field(label: Any, *, required: bool = False, help_text: Any = "") -> forms.DateField:
    return forms.DateField(
        label=label,
        required=required,
        help_text=help_text,
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
    )


class ReportForm(PlacedForm):
    """A find, on a phone first: what, where, photo."""

    title = forms.CharField(label=_("What is wrong"), max_length=200)
    photos = PhotosField(label=_("Photos"))
    description = forms.CharField(label=_("Description"), required=False, widget=TALL, max_length=4000)
    location = forms.CharField(
        label=_("Where at the subject"), required=False, max_length=200, help_text=_("Such as: kitchen, 2nd floor")
    )
    severity = forms.ChoiceField(label=_("Severity, as you see it"), choices=Severity.choices, widget=forms.RadioSelect)
    source = forms.ChoiceField(label=_("Source of the find"))
    criterion_code = forms.CharField(label=_("Criterion"), required=False, max_length=120)
    criterion_text = forms.CharField(label=_("Criterion's text"), required=False, widget=TALL, max_length=2000)
    legal_basis = forms.CharField(label=_("Legal basis"), required=False, max_length=400)
    fixed = forms.BooleanField(label=_("It was fixed on the spot"), required=False)
    done_by_name = forms.CharField(
        label=_("Fixed by"),
        required=False,
        max_length=100,
        help_text=_("Name of whoever fixed it, when it was not you"),
    )
    after = PhotosField(label=_("Photos after fixing"))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        words = vocabulary().hazard_sources
        self.fields["source"].choices = [  # type: ignore[attr-defined]
            (code, registry().label(code, kind="hazard_sources")) for code in words if code != "alarm"
        ]
        self.fields["severity"].initial = "general"

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if data.get("fixed") and data.get("severity") == "major":
            self.add_error("fixed", _("A major hazard is not settled on the spot."))
        if data.get("fixed") and not data.get("after"):
            self.add_error("after", _("A photo after fixing is needed."))
        if data.get("fixed") and not data.get("photos"):
            self.add_error("photos", _("A photo before fixing is needed."))
        return data


class SubjectChoice(forms.Form):
    """Which subject a find belongs to, by its key or name."""

    q = forms.CharField(label=_("Subject"), required=False, max_length=100)


class StepForm(PlacedForm):
    """Base of the steps' forms: they know their hazard and its actor."""

    def __init__(self, *args: Any, hazard: Hazard, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.hazard = hazard
        self.prepare()

    def prepare(self) -> None:
        """Fill in choices and first values from the hazard."""

    def values(self) -> dict[str, Any]:
        """What the service is given."""
        return {name: value for name, value in self.cleaned_data.items() if name not in ("lon", "lat")}


class GradeForm(StepForm):
    severity = forms.ChoiceField(label=_("Severity"), choices=Severity.choices, widget=forms.RadioSelect)
    criterion_code = forms.CharField(label=_("Criterion"), required=False, max_length=120)
    criterion_text = forms.CharField(label=_("Criterion's text"), required=False, widget=TALL, max_length=2000)
    legal_basis = forms.CharField(label=_("Legal basis"), required=False, max_length=400)
    note = forms.CharField(label=_("Note"), required=False, widget=TALL, max_length=2000)

    def prepare(self) -> None:
        for name in ("severity", "criterion_code", "criterion_text", "legal_basis"):
            self.fields[name].initial = getattr(self.hazard, name)


class AssignForm(StepForm):
    rectifier = PersonField(label=_("Rectifier"))
    verifier = PersonField(label=_("Checked by"), required=False)
    due_on = day_field(_("Due"), help_text=USUAL)


class PlanForm(StepForm):
    """The five elements: responsibility, measures, funds, time limit, contingency plan."""

    plan_unit = forms.CharField(label=_("Responsible unit"), max_length=200, required=False)
    plan_person = forms.CharField(label=_("Responsible person"), max_length=100, required=False)
    plan_post = forms.CharField(label=_("Post held"), max_length=100, required=False)
    plan_phone = forms.CharField(label=_("Phone"), max_length=40, required=False)
    measures = forms.CharField(label=_("Measures: goals and method"), widget=TALL, max_length=4000, required=False)
    interim_measures = forms.CharField(
        label=_("Control measures until then"), widget=TALL, max_length=4000, required=False
    )
    funds_yuan = forms.DecimalField(
        label=_("Funds (yuan)"), min_value=0, max_digits=14, decimal_places=2, required=False
    )
    funds_materials = forms.CharField(label=_("Material list"), required=False, widget=TALL, max_length=4000)
    funds_reason = forms.CharField(label=_("If no funds: why"), required=False, max_length=300)
    due_on = day_field(_("Time limit"))
    contingency = forms.CharField(label=_("Contingency plan"), widget=TALL, max_length=4000, required=False)

    def prepare(self) -> None:
        hazard = self.hazard
        for name in self.fields:
            if hasattr(hazard, name):
                self.fields[name].initial = getattr(hazard, name)
        post = hazard.rectifier.main_post if hazard.rectifier else None
        if hazard.rectifier is not None and not hazard.plan_person:
            self.fields["plan_person"].initial = str(hazard.rectifier)
            self.fields["plan_phone"].initial = hazard.rectifier.phone
        if post is not None and not hazard.plan_unit:
            self.fields["plan_unit"].initial, self.fields["plan_post"].initial = post.organisation.name, post.role_label
        if not hazard.is_major:
            for name in ("interim_measures", "funds_yuan", "funds_materials", "funds_reason", "contingency"):
                self.fields[name].widget.attrs["placeholder"] = _("only for major hazards, or if you wish")


class SubmitForm(StepForm):
    before = PhotosField(label=_("Photos before"), help_text=_("Not needed when the report has some."))
    after = PhotosField(label=_("Photos after"))
    note = forms.CharField(label=_("What was done"), widget=TALL, max_length=4000)
    done_by_name = forms.CharField(label=_("Done by"), required=False, max_length=100)

    def values(self) -> dict[str, Any]:
        return super().values() | self.place()


class AcceptForm(StepForm):
    note = forms.CharField(label=_("Finding of the check"), required=False, widget=TALL, max_length=4000)
    experts = forms.CharField(
        label=_("Experts"), required=False, max_length=400, help_text=_("Names, separated by commas; for major hazards")
    )
    photos = PhotosField(label=_("Photos of the check"))

    def clean_experts(self) -> list[str]:
        text = self.cleaned_data["experts"].replace("，", ",").replace("、", ",")
        return [name.strip() for name in text.split(",") if name.strip()]


class RejectForm(StepForm):
    note = forms.CharField(label=_("Why it is sent back"), widget=TALL, max_length=4000)
    due_on = day_field(_("New due date"), help_text=USUAL)
    photos = PhotosField(label=_("Photos of the check"))


class ExtensionForm(StepForm):
    days = forms.IntegerField(label=_("Days"), min_value=1, max_value=90)
    reason = forms.CharField(label=_("Reason"), widget=TALL, max_length=2000)


class DecisionForm(StepForm):
    granted = forms.TypedChoiceField(
        label=_("Decision"), choices=[("1", _("Grant")), ("0", _("Refuse"))], coerce=lambda value: value == "1",
        widget=forms.RadioSelect,
    )  # fmt: skip
    note = forms.CharField(label=_("Reason of the decision"), required=False, widget=TALL, max_length=2000)


class SuspendForm(StepForm):
    order_number = forms.CharField(label=_("Order number"), max_length=100)
    reason = forms.CharField(label=_("Reason"), widget=TALL, max_length=2000)


class ResumeForm(StepForm):
    note = forms.CharField(label=_("Review on site and consent"), widget=TALL, max_length=2000)


class ListForm(StepForm):
    number = forms.CharField(label=_("Listing number"), max_length=60)
    body = forms.ChoiceField(label=_("Listing body"), choices=Supervision.Body.choices)
    due_on = day_field(_("Due"), required=True)
    leader_name = forms.CharField(label=_("Responsible leader"), max_length=100)
    publicity_url = forms.URLField(label=_("Publicity link"), required=False, assume_scheme="https")


class ApplyForm(StepForm):
    application = forms.CharField(label=_("Application"), widget=TALL, max_length=4000)


class DelistForm(StepForm):
    finding = forms.CharField(label=_("Finding of the on-site review"), widget=TALL, max_length=4000)
    notice_number = forms.CharField(label=_("Number of the notice"), max_length=100)


class RefuseForm(StepForm):
    finding = forms.CharField(label=_("Finding of the on-site review"), widget=TALL, max_length=4000)
    due_on = day_field(_("New due date"), help_text=USUAL)


class TransferForm(StepForm):
    to = forms.ModelChoiceField(Organisation.objects.none(), label=_("Transfer to"))
    reason = forms.CharField(label=_("Reason"), widget=TALL, max_length=2000)
    document = forms.CharField(label=_("Document number"), required=False, max_length=100)

    def prepare(self) -> None:
        field: Any = self.fields["to"]
        field.queryset = Organisation.objects.filter(kind="department", active=True).order_by("name")


class ReceiveForm(StepForm):
    pass


def subjects_for(user: Any, text: str) -> list[Subject]:
    """Subjects that the user may report on, by name or key, at most twenty."""
    rows = Subject.objects.visible_to(user, "hazard.report").active().select_related("division")
    for word in text.split():
        rows = rows.filter(name__ilike=word) | rows.filter(key=word)
    return list(rows.order_by("name", "pk")[:20])


FORMS: dict[str, type[StepForm]] = {
    "grade": GradeForm,
    "assign": AssignForm,
    "plan": PlanForm,
    "submit": SubmitForm,
    "accept": AcceptForm,
    "reject": RejectForm,
    "ask_extension": ExtensionForm,
    "decide_extension": DecisionForm,
    "suspend": SuspendForm,
    "resume": ResumeForm,
    "list": ListForm,
    "apply": ApplyForm,
    "delist": DelistForm,
    "refuse_delisting": RefuseForm,
    "transfer": TransferForm,
    "receive": ReceiveForm,
}
