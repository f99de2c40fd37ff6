"""Slices of a batch side by side: one per core, each with single-threaded matrix products.

A BLAS that splits every small product over the cores waits for the slowest each time; on a machine that does anything
else that made a run ten times slower than one thread. Whole slices need no waiting.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from threading import Lock, RLock
from typing import Any, TypeVar

from threadpoolctl import ThreadpoolController

from dqt.program.cores import cores

__all__ = ["cores", "each"]
Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


class _SingleThreadedBlas:
    """The BLAS limit belongs to the process: one run at a time sets and restores it.

    A forked child has only the thread that forked. If another thread of the parent held the limit, nobody would ever
    release the child's copy of the lock or restore its BLAS; so the child gets a new lock, and its first run restores
    what the parent's had set. Not the fork itself: BLAS would start threads for a child that may only exit.
    """

    def __init__(self) -> None:
        self._run = Lock()
        self._change = RLock()
        """Held while the limit changes. A fork waits for it, so that a child never inherits half a change, nor the
        lock that threadpoolctl holds meanwhile."""
        self._limit: Any = None
        self._inherited: Any = None
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(
                before=self._change.acquire, after_in_parent=self._change.release, after_in_child=self._in_child
            )

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._run:
            self._set()
            try:
                yield
            finally:
                self._restore()

    def _set(self) -> None:
        with self._change:
            if self._inherited is not None:
                self._inherited.restore_original_limits()
                self._inherited = None
            self._limit = _controller().limit(limits=1, user_api="blas")
            self._limit.__enter__()  # not the call alone: entered, it is this thread's only until it ends

    def _restore(self) -> None:
        with self._change:
            self._limit.__exit__(None, None, None)
            self._limit = None

    def _in_child(self) -> None:
        self._run = Lock()
        self._inherited, self._limit = self._limit or self._inherited, None
        self._change.release()


_single_threaded_blas = _SingleThreadedBlas()


def each(function: Callable[[Item], Outcome], items: Sequence[Item]) -> list[Outcome]:
    """``[function(item) for item in items]``, on all cores."""
    with _single_threaded_blas():
        if len(items) == 1:
            return [function(items[0])]
        with ThreadPoolExecutor(min(cores(), len(items))) as pool:
            return list(pool.map(function, items))


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()
