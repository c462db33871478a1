"""The web application as a server (uvicorn) calls it."""

from __future__ import annotations

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "zhenan.server.settings")
application = get_asgi_application()

from zhenan.server.warm import warm_in_background  # noqa: E402  (the rooms have registered what is to be warmed)

warm_in_background()
