"""Photos and the phone's place in forms."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.files.uploadedfile import UploadedFile
from django.utils.translation import gettext_lazy as _

PHOTOS_AT_MOST = 9


class ManyFiles(forms.ClearableFileInput):
    allow_multiple_selected = True


class PhotosField(forms.FileField):
    """Several photos or documents at once; a phone offers its camera. Gives a list of files, [] when none came."""

    def __init__(self, **kwargs: Any) -> None:
        accept = "image/jpeg,image/png,image/webp,application/pdf"
        kwargs.setdefault("widget", ManyFiles(attrs={"accept": accept, "capture": "environment"}))
        kwargs.setdefault("required", False)
        super().__init__(**kwargs)

    def clean(self, data: Any, initial: Any = None) -> list[UploadedFile]:
        files = [file for file in (data if isinstance(data, list | tuple) else [data]) if file]
        if self.required and not files:
            raise forms.ValidationError(self.error_messages["required"], code="required")
        if len(files) > PHOTOS_AT_MOST:
            raise forms.ValidationError(
                _("{came} files came; at most {most}.").format(came=len(files), most=PHOTOS_AT_MOST)
            )
        return [super(PhotosField, self).clean(file, initial) for file in files]


class PlacedForm(forms.Form):
    """A form that carries the phone's place: load ``evidence/place.js`` on its page. It works without one."""

    lon = forms.FloatField(
        required=False, min_value=-180, max_value=180, widget=forms.HiddenInput(attrs={"data-geo": "lon"})
    )
    lat = forms.FloatField(
        required=False, min_value=-90, max_value=90, widget=forms.HiddenInput(attrs={"data-geo": "lat"})
    )

    def place(self) -> dict[str, float | None]:
        """lon and lat in WGS-84 degrees, both or neither."""
        lon, lat = self.cleaned_data.get("lon"), self.cleaned_data.get("lat")
        return {"lon": lon, "lat": lat} if lon is not None and lat is not None else {"lon": None, "lat": None}
