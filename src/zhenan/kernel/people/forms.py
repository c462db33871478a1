"""Naming a person in a form: type a few letters, choose; understood by username, phone or unique name."""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from django.urls import reverse_lazy
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from zhenan.kernel.people.models import User
from zhenan.kernel.people.queries import with_posts


def matching(text: str) -> QuerySet[User]:
    """Active people whose name, username or phone contains the text."""
    found = Q(name__ilike=text) | Q(username__ilike=text) | Q(phone__startswith=text)
    return User.objects.filter(found, is_active=True).order_by("name", "username")


def options(people: Any) -> SafeString:
    """The suggestions: the username is what is sent, name and post are what is read."""
    return format_html_join("", '<option value="{}">{}</option>', ((p.username, _said(p)) for p in with_posts(people)))


def _said(person: User) -> str:
    post = person.main_post
    return f"{person} · {post.organisation} · {post.role_label}" if post else str(person)


class PersonInput(forms.TextInput):
    """A text field whose suggestions the server gives while one types."""

    def render(self, name: str, value: Any, attrs: dict[str, Any] | None = None, renderer: Any = None) -> SafeString:
        attrs = dict(attrs or {})
        list_id = f"{attrs.get('id', name)}_people"
        attrs |= {
            "list": list_id, "autocomplete": "off", "hx-get": reverse_lazy("people:search"), "hx-target": f"#{list_id}",
            "hx-trigger": "input changed delay:200ms, focus once", "hx-swap": "innerHTML",
            "hx-vals": json.dumps({"field": name}),
        }  # fmt: skip
        return format_html('{}<datalist id="{}"></datalist>', super().render(name, value, attrs, renderer), list_id)


class PersonField(forms.CharField):
    """Gives a User. Says who was meant and why nobody or several are found."""

    widget = PersonInput

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("help_text", _("User name, phone or full name"))
        kwargs.setdefault("max_length", 150)
        super().__init__(**kwargs)

    def to_python(self, value: Any) -> User | None:  # type: ignore[override]
        text = str(super().to_python(value) or "").strip()
        if not text:
            return None
        exact = User.objects.filter(username=text, is_active=True).first()
        if exact is not None:
            return exact
        found = list(User.objects.filter(Q(phone=text) | Q(name=text), is_active=True)[:2])
        if len(found) == 1:
            return found[0]
        if found:
            raise ValidationError(_("Several people are called “%(came)s”; give the user name.") % {"came": text})
        raise ValidationError(_("Nobody has the user name, phone or name “%(came)s”.") % {"came": text})

    def prepare_value(self, value: Any) -> Any:
        return value.username if isinstance(value, User) else value

    def validate(self, value: Any) -> None:
        if self.required and value is None:
            raise ValidationError(self.error_messages["required"], code="required")

    def run_validators(self, value: Any) -> None:
        """The text's own limits were judged before it became a person."""
