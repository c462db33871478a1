"""Organisations, people and posts, for those who look after them."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.db.models import Prefetch, Q, QuerySet
from django.forms import Form
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as _lazy
from django.views.decorators.http import require_POST

from zhenan.kernel.access.guards import AuthedRequest, needs
from zhenan.kernel.access.scope import Reach, ScopedQuerySet
from zhenan.kernel.errors import DomainError
from zhenan.kernel.lists import BooleanFilter, ChoiceFilter, Column, DivisionFilter, ListPage
from zhenan.kernel.people.models import Organisation, Post, User
from zhenan.kernel.people.roles import role_choices
from zhenan.web import people_services as services
from zhenan.web.forms import OrganisationForm, PasswordForm, PersonForm, PostForm


class OrganisationsSeen(ScopedQuerySet):
    scope_capability = "people.view"
    scope_path = "division__path"
    scope_organisations = ("pk",)


class PeopleSeen(ScopedQuerySet):
    """People who hold, or once held, a post within reach."""

    scope_capability = "people.view"

    def _condition(self, reach: Reach) -> Q:
        where = Q(division__path__startswith=reach.path) if reach.path else Q(organisation=reach.organisation_id)
        return Q(pk__in=Post.objects.filter(where).values("user"))


def organisations_seen(user: Any) -> QuerySet[Any]:
    return OrganisationsSeen(Organisation).visible_to(user)


def people_seen(user: Any) -> QuerySet[Any]:
    return PeopleSeen(User).visible_to(user)


def kinds_in_use(_request: Any) -> list[tuple[str, str]]:
    """Kinds that any organisation has; read every five minutes, since it reads the whole table."""
    read = lambda: list(Organisation.objects.order_by("kind").values_list("kind", flat=True).distinct())  # noqa: E731
    return [(kind, kind_label(kind)) for kind in cache.get_or_set("web.organisations.kinds", read, 300) or []]


KIND_WORDS = {
    "city_office": _lazy("City safety office"),
    "department": _lazy("Department"),
    "district_office": _lazy("District office"),
    "town_office": _lazy("Town office"),
    "enterprise": _lazy("Enterprise"),
    "insurer": _lazy("Insurer"),
    "service_centre": _lazy("Service centre"),
    "discipline": _lazy("Discipline inspection"),
    "expert_team": _lazy("Expert team"),
}


def kind_label(kind: str) -> str:
    """Words for the kinds that the platform itself knows; a pack's kind shows its own word."""
    return str(KIND_WORDS.get(kind, kind))


class OrganisationList(ListPage):
    model = Organisation
    title = _lazy("Organisations")
    lead = _lazy("Offices, departments, enterprises and other bodies that people work for")
    capability = "people.view"
    search = ("name", "code")
    search_hint = _lazy("Name or code")
    columns = (
        Column("name", _lazy("Organisation name"), sort="name", link=True),
        Column("code", _lazy("Code"), sort="code", kind="code"),
        Column("kind", _lazy("Kind"), sort="kind", value=lambda o: kind_label(o.kind)),
        Column("division.name", _lazy("Division"), sort="division__code"),
        Column("phone", _lazy("Phone"), kind="code"),
        Column("active", _lazy("Active"), kind="bool", phone=False),
    )
    filters = (
        ChoiceFilter(name="kind", label=_lazy("Kind"), choices=kinds_in_use),
        DivisionFilter(name="division", label=_lazy("Division")),
        BooleanFilter(name="active", label=_lazy("Active")),
    )
    default_sort = "code"
    select_related = ("division",)
    create_url, create_label, create_capability = "web:organisation-new", _lazy("New organisation"), "people.edit"

    def get_queryset(self) -> QuerySet[Any]:
        return organisations_seen(self.request.user)

    def row_url(self, row: Any) -> str:
        return reverse("web:organisation", args=[row.pk])


def posts_text(user: User) -> str:
    """Posts of today in one line."""
    return "；".join(f"{p.organisation.name} {p.title or p.role_label}" for p in user.posts_today)  # type: ignore[attr-defined]


def holds_role(role: str) -> Q:
    """People who hold the role today; a sub-select, so that two such posts do not list a person twice."""
    return Q(pk__in=Post.objects.held_on(timezone.localdate()).filter(role=role).values("user"))


class PersonList(ListPage):
    model = User
    title = _lazy("People")
    lead = _lazy("Accounts and the posts they hold; what a person may see and do comes from the posts of today")
    capability = "people.view"
    search = ("name", "username", "phone")
    search_hint = _lazy("Name, sign-in name or phone")
    columns = (
        Column("name", _lazy("Full name"), sort="name", link=True),
        Column("username", _lazy("Sign-in name"), sort="username", kind="code"),
        Column("posts", _lazy("Posts"), value=posts_text),
        Column("phone", _lazy("Phone"), kind="code"),
        Column("last_login", _lazy("Last sign-in"), sort="last_login", kind="datetime", phone=False),
        Column("is_active", _lazy("Active"), kind="bool", phone=False),
    )
    filters = (
        ChoiceFilter(name="role", label=_lazy("Role"), choices=lambda request: role_choices(), where=holds_role),
        BooleanFilter(name="active", label=_lazy("Active"), field="is_active"),
    )
    default_sort = "username"
    create_url, create_label, create_capability = "web:person-new", _lazy("New person"), "people.edit"

    def get_queryset(self) -> QuerySet[Any]:
        posts = Post.objects.held_on(timezone.localdate()).select_related("organisation")
        return people_seen(self.request.user).prefetch_related(Prefetch("posts", posts, to_attr="posts_today"))

    def row_url(self, row: Any) -> str:
        return reverse("web:person", args=[row.pk])


@needs("people.view")
def organisation(request: AuthedRequest, pk: int) -> HttpResponse:
    found = get_object_or_404(organisations_seen(request.user).select_related("division", "parent"), pk=pk)
    posts = Post.objects.filter(organisation=found).held_on(timezone.localdate()).select_related("user", "division")
    return render(request, "web/organisation.html", {
        "title": found.name, "organisation": found, "kind": kind_label(found.kind), "posts": posts.order_by("pk")[:200],
    })  # fmt: skip


@needs("people.edit")
def organisation_new(request: AuthedRequest) -> HttpResponse:
    form = OrganisationForm(request.POST or None)
    if form.is_valid():
        try:
            made = services.create_organisation(**form.cleaned_data, actor=request.user, at=timezone.now())
        except DomainError as err:
            form.add_error("code", str(err))
        else:
            messages.success(request, _("Organisation created."))
            return redirect("web:organisation", made.pk)
    return _form(request, form, _("New organisation"), reverse("web:organisations"))


@needs("people.view")
def person(request: AuthedRequest, pk: int) -> HttpResponse:
    found = get_object_or_404(people_seen(request.user), pk=pk)
    if request.method == "POST":
        return _switch(request, found)
    posts = found.posts.select_related("organisation", "division").order_by("-since", "-pk")
    may_edit = request.user.can("people.edit")
    return render(request, "web/person.html", {
        "title": str(found), "person": found, "posts": posts, "today": timezone.localdate(), "may_edit": may_edit,
    })  # fmt: skip


def _switch(request: AuthedRequest, found: User) -> HttpResponse:
    try:
        services.set_active(found.pk, active=request.POST.get("active") == "1", actor=request.user, at=timezone.now())
    except DomainError as err:
        messages.error(request, str(err))
    else:
        messages.success(request, _("Saved."))
    return redirect("web:person", found.pk)


@needs("people.edit")
def person_new(request: AuthedRequest) -> HttpResponse:
    form = PersonForm(request.POST or None)
    if form.is_valid():
        try:
            made = services.create_person(**form.cleaned_data, actor=request.user, at=timezone.now())
        except DomainError as err:
            form.add_error("username", str(err))
        except ValidationError as err:
            form.add_error("password", err)
        else:
            messages.success(request, _("Account created. Now add a post: without one the person sees nothing."))
            return redirect("web:post-new", made.pk)
    return _form(request, form, _("New person"), reverse("web:people"))


@needs("people.edit")
def password_reset(request: AuthedRequest, pk: int) -> HttpResponse:
    found = get_object_or_404(User, pk=pk)
    form = PasswordForm(request.POST or None)
    if form.is_valid():
        try:
            services.reset_password(found.pk, **form.cleaned_data, actor=request.user, at=timezone.now())
        except ValidationError as err:
            form.add_error("password", err)
        else:
            messages.success(request, _("Saved."))
            return redirect("web:person", found.pk)
    title = _("New first password for %(name)s") % {"name": found}
    return _form(request, form, title, reverse("web:person", args=[pk]))


@needs("people.edit")
def post_new(request: AuthedRequest, pk: int) -> HttpResponse:
    found = get_object_or_404(User, pk=pk)
    form = PostForm(request.POST or None)
    if form.is_valid():
        data = {key: form.cleaned_data[key] for key in ("role", "division", "title", "since", "until")}
        services.begin_post(found.pk, organisation=form.organisation, **data, actor=request.user, at=timezone.now())
        messages.success(request, _("Post added."))
        return redirect("web:person", found.pk)
    return _form(request, form, _("New post for %(name)s") % {"name": found}, reverse("web:person", args=[found.pk]))


@require_POST
@needs("people.edit")
def post_end(request: AuthedRequest, pk: int) -> HttpResponse:
    post = get_object_or_404(Post, pk=pk)
    try:
        services.end_post(pk, last_day_after=timezone.localdate(), actor=request.user, at=timezone.now())
    except DomainError as err:
        messages.error(request, str(err))
    else:
        messages.success(request, _("Post ended."))
    return redirect("web:person", post.user_id)


def _form(request: AuthedRequest, form: Form, title: str, back: str) -> HttpResponse:
    context = {"form": form, "title": title, "back": back}
    return render(request, "web/form.html", context, status=422 if form.errors else 200)
