"""Long work in slices: a limit of minutes that stops as a signal does, with everything saved."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

from dqt.train.processes import Stopped


class Limit:
    """When a slice ends; never, without minutes."""

    def __init__(self, minutes: float | None) -> None:
        self.end = None if minutes is None else time.monotonic() + 60 * minutes

    def check(self) -> None:
        """Training that was told to stop in its last step ends as if it had not been: this stops what follows.

        Raises:
            Stopped: the slice is over.
        """
        if self.end is not None and time.monotonic() >= self.end:
            raise Stopped("the minutes are over")


@contextmanager
def slice_of(minutes: float | None) -> Iterator[Limit]:
    """A slice, in the main thread. After ``minutes`` the process sends itself SIGTERM: training finishes its step,
    saves and stops; what is outside of training, such as judging, stops at once and keeps the points that are written.

    Raises:
        Stopped: the slice is over, or the system asked to stop.
    """

    def alarm(*_: object) -> None:
        signal.raise_signal(signal.SIGTERM)

    def stop(*_: object) -> None:
        raise Stopped("stopped")

    before = {signal.SIGALRM: signal.signal(signal.SIGALRM, alarm), signal.SIGTERM: signal.signal(signal.SIGTERM, stop)}
    if minutes is not None:
        signal.setitimer(signal.ITIMER_REAL, max(60 * minutes, 1e-3))
    try:
        yield Limit(minutes)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
