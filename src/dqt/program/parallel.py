"""Slices of a batch side by side: one per core, each with single-threaded matrix products.

A BLAS that splits every small product over the cores waits for the slowest each time; on a machine that does anything
else that made a run ten times slower than one thread. Whole slices need no waiting.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from threading import Lock
from typing import TypeVar

from threadpoolctl import ThreadpoolController

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")
_LOCK = Lock()
"""The BLAS limit belongs to the process: one run at a time sets and restores it."""


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def each(function: Callable[[Item], Outcome], items: Sequence[Item]) -> list[Outcome]:
    """``[function(item) for item in items]``, on all cores."""
    with _LOCK, _controller().limit(limits=1, user_api="blas"):
        if len(items) == 1:
            return [function(items[0])]
        with ThreadPoolExecutor(min(cores(), len(items))) as pool:
            return list(pool.map(function, items))


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()
