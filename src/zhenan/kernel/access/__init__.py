"""Who may see and do what: scopes from posts, applied to querysets.

``Model.objects.visible_to(user)`` limits reading; ``require(user, "hazard.verify", obj)`` guards a change;
``@needs("hazard.view")`` guards a page.
"""

from zhenan.kernel.access.guards import AuthedRequest, NotAllowed, needs, require
from zhenan.kernel.access.scope import Scope, ScopedQuerySet, scope_of

__all__ = ["AuthedRequest", "NotAllowed", "Scope", "ScopedQuerySet", "needs", "require", "scope_of"]
