"""Compiled loops: numba's `njit` without the GIL, kept on disk between runs where that can be done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit

F = TypeVar("F", bound=Callable[..., Any])


def compiled(**options: Any) -> Callable[[F], F]:
    """`njit`, kept on disk between runs where some folder can be written, else compiled anew in each process."""

    def wrap(function: F) -> F:
        try:
            return njit(nogil=True, cache=True, **options)(function)
        except RuntimeError:  # numba's "no locator available": a read-only install and no home folder
            return njit(nogil=True, **options)(function)

    return wrap
