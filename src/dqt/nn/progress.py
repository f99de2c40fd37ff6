"""The progress bar of what takes longer than a few seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import Progress


@contextmanager
def advancing(show: bool, what: str, total: int) -> Iterator[Callable[[], None]]:
    """A bar of ``total`` steps and what makes one; nothing is shown unless ``show``."""
    if not show:
        yield lambda: None
        return
    with Progress(transient=True) as shown:
        task = shown.add_task(what, total=total)
        yield lambda: shown.advance(task)
