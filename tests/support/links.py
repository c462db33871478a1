"""TCP links that a test can cut: nothing passes then in either direction and nobody is told, as when a switch dies."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
Address = tuple[str, int]


class Links:
    """Ports that forward to others, all of them cut and healed together. In a thread of its own; `close` at the end."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._whole = asyncio.Event()
        self._loop.call_soon_threadsafe(self._whole.set)
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def _run(self, what: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(10)

    def port_to(self, *targets: Address) -> int:
        """A port whose connections go to the targets in turn, to the next where one does not answer: a balancer."""
        turn = itertools.cycle(targets)

        async def serve() -> int:
            async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                task = asyncio.current_task()
                assert task is not None
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
                with contextlib.suppress(
                    asyncio.CancelledError
                ):  # by `close`; the server's own callback would raise it
                    await self._connection(reader, writer, [next(turn) for _ in targets])

            server = await asyncio.start_server(accepted, "127.0.0.1", 0)
            self._servers.append(server)
            return int(server.sockets[0].getsockname()[1])

        return self._run(serve())

    async def _connection(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, targets: list[Address]
    ) -> None:
        await self._whole.wait()
        with contextlib.closing(writer):
            for host, port in targets:
                try:
                    far_reader, far_writer = await asyncio.open_connection(host, port)
                except OSError:
                    continue
                with contextlib.closing(far_writer):
                    pumps = [self._pump(reader, far_writer), self._pump(far_reader, writer)]
                    tasks = [asyncio.create_task(pump) for pump in pumps]
                    try:
                        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                    finally:
                        for task in tasks:
                            task.cancel()
                return

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                await self._whole.wait()  # what was under way when the link broke arrives after it was mended
                writer.write(data)
                await writer.drain()

    def cut(self) -> None:
        """From now on nothing passes."""
        self._loop.call_soon_threadsafe(self._whole.clear)

    def heal(self) -> None:
        """What was held up goes on, late."""
        self._loop.call_soon_threadsafe(self._whole.set)

    def close(self) -> None:
        async def stop() -> None:
            for server in self._servers:
                server.close()
            ending = list(self._tasks)
            for task in ending:
                task.cancel()
            await asyncio.gather(*ending, return_exceptions=True)
            await asyncio.sleep(0)  # the pumps see that they were cancelled

        self._run(stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
