"""The form of an upload."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from zhenan.kernel.imports.services import SUFFIXES
from zhenan.kernel.imports.specs import ImportSpec


class UploadForm(forms.Form):
    """What kind of record, which file, and whether a refused row keeps all others out."""

    spec = forms.ChoiceField(label=_("Kind of record"))
    file = forms.FileField(
        label=_("File"),
        help_text=_(
            "CSV (UTF-8 or GB18030), XLSX, XLS or ODS, with a row of column names. "
            "Nothing is written before you have seen the verdict on every row."
        ),
        widget=forms.ClearableFileInput(attrs={"accept": ",".join(SUFFIXES)}),
        allow_empty_file=True,
    )
    whole = forms.BooleanField(
        label=_("Import all rows or none"), required=False,
        help_text=_("Otherwise the good rows are imported and the refused ones are given back to you as a file."),
    )  # fmt: skip

    def __init__(self, *args: Any, specs: dict[str, ImportSpec], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["spec"].choices = [(code, spec.label) for code, spec in specs.items()]  # type: ignore[attr-defined]
