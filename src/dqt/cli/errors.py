"""What a user reads when something is wrong: one or two lines that say what, where, and what to do."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from typing import Any

import dqt

INPUT, USAGE, DEFECT, DIFFERS, INTERRUPTED = 1, 2, 3, 4, 130
"""Exit codes; DIFFERS: the work was done, and the integers that were served are not the defined ones."""


class StopError(Exception):
    """The user stopped the command; the message says what was saved."""


def stoppable(function: Callable[..., None]) -> Callable[..., None]:
    """``function``, whose interruption (Ctrl-C) keeps the message of the library that was interrupted."""

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        try:
            function(*args, **kwargs)
        except KeyboardInterrupt as error:
            raise StopError(str(error) or "interrupted") from error

    return wrapped


def describe(error: Exception) -> tuple[str, int]:
    """The message for ``error``, without a traceback, and the exit code."""
    if isinstance(error, StopError):
        return f"dqt: {error}", INTERRUPTED
    if isinstance(error, BrokenPipeError) and error.filename is None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads on: nothing more to flush
        return "", INPUT
    if hasattr(error, "format_message"):  # the parser's own errors, whose class depends on typer's version
        context: Any = getattr(error, "ctx", None)
        path = context.command_path if context is not None else "dqt"
        return f"{path}: {_line(error.format_message())} See {path} --help.", USAGE
    missing = dqt.needs(error)
    if missing is not None and "pip install" not in str(error):
        return f"dqt: this needs {missing}", INPUT
    if type(error).__module__.partition(".")[0] == "dqt" or isinstance(error, ImportError):
        return f"dqt: {_line(str(error))}", INPUT
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"dqt: {where}{error.strerror or error}", INPUT
    if isinstance(error, MemoryError):
        return "dqt: out of memory: use fewer or smaller samples", INPUT
    said = f"{type(error).__name__}: {_line(str(error))}"
    return f"dqt: a defect of dqt, not of your input: {said}\n--debug shows the traceback; please report it", DEFECT


def _line(text: str) -> str:
    return " ".join(text.split())
