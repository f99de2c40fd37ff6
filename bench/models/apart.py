"""A function in a process of its own, which no crash, endless loop or hunger for memory of it gets out of."""

from __future__ import annotations

import math
import os
import resource
import select
import signal
import sys
from collections.abc import Callable
from time import monotonic

MEMORY_GIB = 12
PATIENCE = 30
"""Seconds on the clock that a busy machine may let pass for each second of the processor; after more, work is stuck."""


def apart(work: Callable[[], None], limit: float) -> tuple[list[str], str]:
    """Run ``work`` in a fork of this process, which has imported everything already.

    Args:
        limit: seconds of the processor. Work that waits for something else ends after ``PATIENCE`` times as long.

    Returns:
        The lines that it printed, and how it ended if it did not end well.
    """
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reads)
        _work(work, writes, limit)
    os.close(writes)
    said, in_time = _said(reads, monotonic() + PATIENCE * limit)
    os.close(reads)
    if not in_time:
        os.kill(child, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    stuck = not in_time or status == -signal.SIGXCPU
    why = f"took more than {limit:g} s" if stuck else f"the process ended with {status}"
    return said.decode(errors="replace").splitlines(), why


def _work(work: Callable[[], None], writes: int, limit: float) -> None:
    """In the child: print to the pipe, warn nobody, never come back."""
    try:
        os.dup2(writes, 1)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        sys.stdout = os.fdopen(1, "w", closefd=False)
        most = MEMORY_GIB << 30
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        seconds = math.ceil(limit)
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
        work()
        sys.stdout.flush()
    except BaseException:  # of a child of a fork nothing may reach the parent's code
        os._exit(1)
    os._exit(0)


def _said(reads: int, end: float) -> tuple[bytes, bool]:
    """What comes until the pipe closes, or until the time is over; whether it closed."""
    said = b""
    while select.select([reads], [], [], max(0.0, end - monotonic()))[0]:
        part = os.read(reads, 1 << 16)
        if not part:
            return said, True
        said += part
    return said, False
