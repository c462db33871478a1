"""Files that terminals bring: those of active-safety alarms to their own port, camera pictures in their messages."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
import time
from pathlib import Path

import msgspec
import structlog
from django.utils import timezone

from zhenan.domains.monitoring import attachments
from zhenan.server import config
from zhenan.server.processes import Process
from zhenan.telemetry.gateway.attachments import AttachmentServer, FileOf
from zhenan.telemetry.gateway.core import Gateway
from zhenan.telemetry.gateway.sessions_jt808 import Media

log = structlog.get_logger("zhenan.gateway")
MEDIA_WAITING = 256  # pictures that wait to be stored; each is at most what a reassembled message may be
SUFFIX = ".media"
AGAIN_S = 30.0


class Files:
    """The attachment port, and the pictures that come by themselves, into the evidence of alarms and devices."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.folder = config.data_dir() / "incoming"
        self._came = asyncio.Event()
        self._server: AttachmentServer | None = None

    async def start(self, gateway: Gateway) -> int:
        """Listen for files; returns the port."""
        settings = gateway.config
        assert settings.files is not None  # noqa: S101
        self._server = AttachmentServer(
            settings.secret, self._store, self._stored, gateway.counters, folder=self.folder,
            clock=lambda: time.time_ns() // 1_000_000,
        )  # fmt: skip
        return await self._server.start(settings.host, settings.files.port)

    async def stop(self) -> None:
        """Take no more."""
        if self._server is not None:
            await self._server.stop()

    def media(self, media: Media) -> bool:
        """Keep a picture on disk until it is stored; False when there is no room, and the terminal shall keep it."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if sum(1 for _ in self.folder.glob(f"*{SUFFIX}")) >= MEDIA_WAITING:
                return False
            data = msgspec.msgpack.encode(media)
            with tempfile.NamedTemporaryFile(dir=self.folder, suffix=SUFFIX + "~", delete=False) as handle:
                handle.write(data)
                handle.flush()
                os.fsync(handle.fileno())
            Path(handle.name).rename(handle.name.removesuffix("~"))
        except OSError as err:
            log.warning("gateway.media_not_kept", device=media.device_key, error=str(err))
            return False
        self._came.set()
        return True

    async def run(self) -> None:
        """Store pictures, for ever; those of before a kill too."""
        while True:
            for path in sorted(self.folder.glob(f"*{SUFFIX}")):
                await self._store_media(path)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._came.wait(), AGAIN_S)
            self._came.clear()

    async def _store_media(self, path: Path) -> None:
        try:
            media = msgspec.msgpack.decode(path.read_bytes(), type=Media)
        except msgspec.DecodeError:
            log.exception("gateway.media_unreadable", file=path.name)
            path.rename(path.with_suffix(".damaged"))
            return
        try:
            await self.process.database(attachments.store_media, media, at=timezone.now())
            path.unlink()
        except Exception:
            log.exception("gateway.media_not_stored", device=media.device_key)

    async def _store(self, one: FileOf) -> None:
        await self.process.database(attachments.store_file, one, at=timezone.now())

    async def _stored(self, number: str) -> set[str]:
        return await self.process.database(attachments.names_stored, number)
