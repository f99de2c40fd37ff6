"""Ctrl-C ends a verb at any moment, with one line and exit code 130. Imports nothing that takes time.

A first Ctrl-C raises KeyboardInterrupt in the main thread, so that files and the terminal are left as they should be.
That alone is not enough: the exception is late while native code runs, waits for threads that compute, and is lost or
becomes another error where it falls into an import. So a thread watches for the signal itself, and ends the process
where it has not ended within a moment. A second Ctrl-C ends it at once.

A verb with a handler of its own, such as training, which saves first, is left to it.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

INTERRUPTED = 130
GRACE = 1.0
"""Seconds that a verb has to end by itself."""
SHOW_CURSOR = "\x1b[?25h"
"""A progress bar hides the cursor."""


class Interrupt:
    """The handler of SIGINT while a verb runs.

    Attributes:
        hit: whether the user has interrupted the verb.
        over: set when the verb has ended.
    """

    def __init__(self) -> None:
        self.hit = False
        self.over = threading.Event()

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """The signal handler."""
        if self.hit:
            leave()
        self.hit = True
        raise KeyboardInterrupt

    def watch(self, pipe: int) -> None:
        """End the process after a signal, of which a byte in ``pipe`` tells, that this handler did not end in time."""
        while byte := os.read(pipe, 1):
            mine = byte[0] == signal.SIGINT and bool(signal.getsignal(signal.SIGINT) == self)
            if mine and not self.over.wait(GRACE):
                leave()


def leave() -> None:
    """End this process now: no unwinding, no waiting for threads."""
    if sys.stderr.isatty():
        sys.stderr.write(SHOW_CURSOR)
    sys.stderr.write("dqt: interrupted\n")
    sys.stderr.flush()
    os._exit(INTERRUPTED)


def _end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - a signal handler's arguments
    os._exit(INTERRUPTED)


def end_soon() -> None:
    """End this process in a moment if it does not end by itself: Python waits for threads that still compute."""
    timer = threading.Timer(GRACE, os._exit, (INTERRUPTED,))
    timer.daemon = True
    timer.start()


@contextmanager
def interruptible(*, last: bool = False) -> Iterator[Interrupt]:
    """Handle Ctrl-C as the module says while the block runs.

    ``last``: the process ends after the block, where a further Ctrl-C would be a traceback from Python's own end; it
    then ends the process at once, in silence.

    Does nothing where SIGINT is ignored (as in the background) or handled by somebody else, or outside the main thread.
    """
    interrupt = Interrupt()
    main_thread = threading.current_thread() is threading.main_thread()
    if not main_thread or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield interrupt
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    quiet = sys.unraisablehook
    sys.unraisablehook = lambda problem: None if interrupt.hit else quiet(problem)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    watcher = threading.Thread(target=interrupt.watch, args=(reading,), name="dqt-interrupt", daemon=True)
    watcher.start()
    signal.signal(signal.SIGINT, interrupt)
    try:
        yield interrupt
    finally:
        _restore(interrupt, before, quiet, last)
        os.close(writing)  # ends the watcher's reading
        watcher.join()
        os.close(reading)


def _restore(interrupt: Interrupt, wakeup: int, hook: Any, last: bool) -> None:
    interrupt.over.set()
    if signal.getsignal(signal.SIGINT) is interrupt:
        signal.signal(signal.SIGINT, _end if last else signal.default_int_handler)
    signal.set_wakeup_fd(wakeup)
    sys.unraisablehook = hook
