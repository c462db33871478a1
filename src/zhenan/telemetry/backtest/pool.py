"""Tasks on every core of this machine, or on a Ray cluster where RAY_ADDRESS names one."""

from __future__ import annotations

import logging
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any, Protocol, TypeVar

R_co = TypeVar("R_co", covariant=True)
R = TypeVar("R")


class Runnable(Protocol[R_co]):
    """Something a worker can be sent and run."""

    def run(self) -> R_co: ...


def workers() -> int:
    """How many tasks run at once: ZHENAN_BACKTEST_WORKERS, else the cores of this machine (Ray: of the cluster)."""
    asked = int(os.environ.get("ZHENAN_BACKTEST_WORKERS", "") or 0)
    if asked > 0:
        return asked
    if os.environ.get("RAY_ADDRESS"):
        return max(1, int(_ray().cluster_resources().get("CPU", 1)))
    return os.cpu_count() or 1


def run_all(tasks: Sequence[Runnable[R]], *, at_once: int) -> Iterator[R]:
    """The results as they come, in no order. A task that fails ends all; its error is raised."""
    if os.environ.get("RAY_ADDRESS"):
        yield from _on_ray(tasks)
    elif at_once <= 1 or len(tasks) <= 1:
        for task in tasks:
            yield task.run()
    else:
        yield from _in_processes(tasks, at_once)


def _run(task: Runnable[R]) -> R:
    return task.run()


def _in_processes(tasks: Sequence[Runnable[R]], at_once: int) -> Iterator[R]:
    """Fresh processes: the caller may hold threads and connections that a fork would break."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(at_once, len(tasks)), mp_context=context) as pool:
        running = [pool.submit(_run, task) for task in tasks]
        try:
            for done in as_completed(running):
                yield done.result()
        finally:
            for one in running:
                one.cancel()


def _ray() -> Any:
    try:
        import ray  # type: ignore[import-untyped,unused-ignore]
    except ImportError as err:
        raise RuntimeError("RAY_ADDRESS is set, but Ray is not installed; install requirements/ray.txt") from err
    if not ray.is_initialized():
        ray.init(address=os.environ["RAY_ADDRESS"], log_to_driver=False, logging_level=logging.WARNING)
    return ray


def _on_ray(tasks: Sequence[Runnable[R]]) -> Iterator[R]:
    ray = _ray()
    remote: Callable[..., Any] = ray.remote(_run).remote
    waiting = [remote(task) for task in tasks]
    try:
        while waiting:
            done, waiting = ray.wait(waiting)
            yield from ray.get(done)
    finally:
        for one in waiting:
            ray.cancel(one)
