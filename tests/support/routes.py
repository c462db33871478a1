"""Every address of the product, found from the resolver and from the API's own description; nothing is listed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.urls import URLPattern, URLResolver, get_resolver, reverse

API = "api"  # its operations are found in its OpenAPI document


@dataclass(frozen=True)
class Route:
    """One URL pattern: its full name, the names of its parameters, and the view that answers."""

    name: str
    pattern: str
    parameters: tuple[str, ...]
    view: Any

    @property
    def room(self) -> str:
        """The package of the view, such as zhenan.domains.hazards.views."""
        return str(getattr(self.view, "__module__", ""))

    def url(self, **values: Any) -> str:
        """The address. Raises NoReverseMatch when another pattern took the name."""
        return reverse(self.name, kwargs=values)


def routes() -> list[Route]:
    """Every pattern outside the API, in the order of the resolver."""
    found = list(_walk(get_resolver(), "", (), ()))
    unnamed = [route.pattern for route in found if not route.name.rpartition(":")[2]]
    if unnamed:
        raise AssertionError(f"patterns without a name: {unnamed}")
    return found


def _walk(
    resolver: URLResolver, before: str, namespaces: tuple[str, ...], inherited: tuple[str, ...]
) -> Iterator[Route]:
    for entry in resolver.url_patterns:
        pattern = before + str(entry.pattern)
        parameters = (*inherited, *_parameters(entry))
        if isinstance(entry, URLResolver):
            inner = (*namespaces, entry.namespace) if entry.namespace else namespaces
            if API not in inner:
                yield from _walk(entry, pattern, inner, parameters)
        else:
            yield Route(":".join((*namespaces, entry.name or "")), pattern, parameters, entry.callback)


def _parameters(entry: URLPattern | URLResolver) -> tuple[str, ...]:
    regex = getattr(entry.pattern, "regex", None)
    return tuple(getattr(entry.pattern, "converters", {}) or (regex.groupindex if regex else {}))


@dataclass(frozen=True)
class Operation:
    """One operation of the API: its method, its path with {parameters}, its own description."""

    method: str
    path: str
    parameters: tuple[str, ...]
    spec: dict[str, Any]

    def url(self, **values: Any) -> str:
        return self.path.format(**values)


def operations() -> list[Operation]:
    """Every operation in the API's OpenAPI document."""
    from zhenan.server.api import api

    document = api.get_openapi_schema()
    return [
        Operation(
            method.upper(),
            path,
            tuple(p["name"] for p in spec.get("parameters", ()) if p["in"] == "path"),
            spec,
        )
        for path, methods in document["paths"].items()
        for method, spec in methods.items()
    ]


def own_urls() -> list[str]:
    """Addresses of the API itself: its document, its pages."""
    return [reverse("api:openapi-json"), reverse("api:openapi-view")]
