"""What a user reads when something is wrong: one or two lines that say what, where, and what to do."""

from __future__ import annotations

import errno
import functools
import os
import re
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
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
        said = _line(error.format_message()).replace("Value error, ", "")
        return f"{path}: {said.rstrip('.')}. See {path} --help.", USAGE
    if any(isinstance(each, KeyboardInterrupt) for each in _chain(error)):  # a library turned it into its own error
        return "dqt: interrupted", INTERRUPTED
    missing = dqt.needs(error)
    if missing is not None and "pip install" not in str(error):
        return f"dqt: this needs {missing}", INPUT
    if type(error).__module__.partition(".")[0] == "dqt":
        return f"dqt: {_line(str(error))}", INPUT
    limit = _limit(error)
    if limit:
        return f"dqt: {limit}", INPUT
    said, where = f"{type(error).__name__}: {_last_line(error)}", _users_line(error)
    if where:
        return f"dqt: {where}: {said}\n--debug shows the traceback through your own code", INPUT
    if isinstance(error, ImportError):
        return f"dqt: {_line(str(error))}", INPUT
    if isinstance(error, OSError):
        return f"dqt: {_of_system(error)}", INPUT
    return f"dqt: a defect of dqt, not of your input: {said}\n--debug shows the traceback; please report it", DEFECT


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and those that it was raised from, newest first."""
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        each = each.__cause__ or (None if each.__suppress_context__ else each.__context__)


# what the system refuses


def _limit(error: BaseException) -> str:
    """What the machine has no more of, in words, or nothing."""
    for each in _chain(error):
        if isinstance(each, OSError) and each.errno in EXHAUSTED:
            advised = each.strerror != os.strerror(each.errno)  # by what wrote the file
            return _of_system(each) + ("" if advised else f": {EXHAUSTED[each.errno]}")
        if isinstance(each, MemoryError) or type(each).__name__ == "OutOfMemoryError":
            return f"out of memory: {MEMORY}"
        text = str(each)
        for words, advice in REFUSED.items():
            if isinstance(each, RuntimeError) and words in text:
                return f"{_line(text.splitlines()[0])[:200]}: {advice}"
    return ""


MEMORY = "use fewer or smaller samples, smaller batches, or a machine with more of it"
DISK = "make room on the disk, or write elsewhere"
FILES = "raise the limit of open files (ulimit -n), or use fewer workers"
PROCESSES = "raise the limit of processes and threads (ulimit -u), or use fewer threads and workers"
EXHAUSTED = {
    errno.ENOMEM: MEMORY, errno.ENOSPC: DISK, errno.EDQUOT: DISK, errno.EFBIG: DISK, errno.EMFILE: FILES,
    errno.ENFILE: FILES, errno.EAGAIN: PROCESSES,
}  # fmt: skip
REFUSED = {
    "can't allocate memory": MEMORY,
    "not enough memory": MEMORY,
    "Cannot allocate memory": MEMORY,
    "bad_alloc": MEMORY,
    "out of memory": MEMORY,
    "killed by signal": f"perhaps for want of memory: {MEMORY}",
    "exited unexpectedly": f"perhaps for want of memory: {MEMORY}",
    "shared memory": "raise the size of /dev/shm, or use fewer workers",
    "No space left on device": DISK,
    "Too many open files": FILES,
    "can't start new thread": PROCESSES,
    "Resource temporarily unavailable": PROCESSES,
}
"""What libraries say in a RuntimeError where the system refused them something."""


def _of_system(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"


# whose code raised it


def _users_line(error: BaseException) -> str:
    """The innermost line of a user's own file that dqt called and that raised ``error``: ``file:line``, or nothing."""
    told = re.findall(r'File "([^"]+)", line (\d+)', str(error))  # by a worker process, in the text of its error
    frames = [(frame.filename, frame.lineno or 0) for frame in traceback.extract_tb(error.__traceback__)]
    frames += [(name, int(line)) for name, line in told]
    ours = [i for i, (name, _) in enumerate(frames) if _is_under(name, OURS)]
    users = [i for i, (name, _) in enumerate(frames) if _is_users(name) and ours and i > ours[0]]
    if not users or users[-1] < ours[-1]:  # raised below dqt, which the user's code had called
        return ""
    name, line = frames[users[-1]]
    return f"{name}:{line}"


OURS = (Path(dqt.__file__).parent,)
LIBRARIES = tuple(
    Path(path) for key, path in sysconfig.get_paths().items() if key in ("stdlib", "platstdlib", "purelib")
)


def _is_under(name: str, folders: Iterable[Path]) -> bool:
    return any(Path(name).is_relative_to(folder) for folder in folders)


def _is_users(name: str) -> bool:
    foreign = name.startswith("<") or {"site-packages", "dist-packages"} & set(Path(name).parts)
    return not foreign and not _is_under(name, (*OURS, *LIBRARIES))


def _last_line(error: BaseException) -> str:
    """What it says, without the traceback that a worker process puts before it."""
    text = str(error)
    if "Original Traceback" in text:
        return text.strip().splitlines()[-1].partition(": ")[2] or text.strip().splitlines()[-1]
    return _line(text)


def _line(text: str) -> str:
    return " ".join(text.split())
