"""`zhenan web`: the pages and the API, served by uvicorn."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

POOL = 20


def main(argv: list[str]) -> int:
    """Serve until a signal comes. Each request runs in a thread of its own; event streams are coroutines."""
    parser = argparse.ArgumentParser(prog="zhenan web")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--workers", type=int, default=1)
    asked = parser.parse_args(argv)
    os.environ.setdefault("ZHENAN_DATABASE_POOL", str(POOL))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "zhenan.server.settings")
    import uvicorn

    uvicorn.run(
        "zhenan.server.asgi:application",
        host=asked.host,
        port=asked.port,
        workers=asked.workers,
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=3,
        server_header=False,
        app_dir=str(Path(__file__).resolve().parents[2]),
    )
    return 0
