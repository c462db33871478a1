"""Who may see and do what: scopes from posts, applied to querysets.

``Model.objects.visible_to(user)`` limits reading; ``require(user, "hazard.verify", obj)`` guards a change;
``@needs("hazard.view")`` guards a page.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zhenan.kernel.access.guards import AuthedRequest, NotAllowed, needs, require
    from zhenan.kernel.access.scope import Scope, ScopedQuerySet, scope_of

__all__ = ["AuthedRequest", "NotAllowed", "Scope", "ScopedQuerySet", "needs", "require", "scope_of"]


def __getattr__(name: str) -> Any:
    """Import on first use: Django reads this package before its models may be read."""
    if name not in __all__:
        raise AttributeError(name)
    from zhenan.kernel.access import guards, scope

    return getattr(guards, name) if hasattr(guards, name) else getattr(scope, name)
