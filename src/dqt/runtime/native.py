"""The native module, and what is said of it without a program."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from dqt.arith.whole import index
from dqt.program.container import FileBytes
from dqt.program.errors import ProgramError
from dqt.program.file import outline
from dqt.program.signature import Signature

MOST_THREADS = 1 << 16


class RuntimeUnavailableError(RuntimeError):
    """The native engine is not built, or has no kernels of the name that was asked for."""


def native() -> ModuleType:
    """The native module.

    Raises:
        RuntimeUnavailableError: it is not built.
    """
    try:
        import dqt._native as module
    except ImportError as error:
        raise RuntimeUnavailableError(
            f"the native engine is not built ({error}): install dqt with pip, or use dqt.interpret"
        ) from None
    return module


def kernel_sets() -> tuple[str, ...]:
    """Names of the kernel sets that this processor runs, best first.

    Raises:
        RuntimeUnavailableError: the native engine is not built.
    """
    return tuple(native().kernel_sets())


def kernel_names() -> tuple[str, ...]:
    """Names of the kernels that :class:`dqt.Runtime` chooses among, layer by layer.

    Raises:
        RuntimeUnavailableError: the native engine is not built.
    """
    return tuple(native().kernel_names())


def check_names(module: ModuleType, isa: str | None, kernel: str | None) -> None:
    """Kernels asked for by name are there.

    Raises:
        RuntimeUnavailableError: they are not.
    """
    if isa is not None and isa not in module.kernel_sets():
        raise RuntimeUnavailableError(f"isa {isa!r}: this processor runs {', '.join(module.kernel_sets())}")
    if kernel is not None and kernel not in module.kernel_names():
        raise RuntimeUnavailableError(f"kernel {kernel!r}: there are {', '.join(module.kernel_names())}")


def thread_count(threads: Any) -> int:
    """``threads`` as the engine takes it; more than any machine has cores is as good as that.

    Raises:
        ValueError: no whole number of at least 1.
    """
    count = index(threads)
    if count is None or count < 1:
        raise ValueError(f"threads={threads!r}: need a whole number of at least 1, or None for all cores")
    return min(count, MOST_THREADS)


def of_file(module: ModuleType, made: Callable[[bytes | int], Any], path: Path) -> tuple[Any, tuple[Signature, str]]:
    """The engine of a file, which verifies it; its signature and digest. The program is never an object of Python.

    The engine reads a regular file itself, into memory that its packed weights take over layer by layer.

    Raises:
        ProgramError: it is no legal file, or somebody wrote to it just now.
        OSError: it cannot be read.
    """
    with path.open("rb", buffering=0) as file:
        before = os.fstat(file.fileno())
        regular = stat.S_ISREG(before.st_mode)
        data = None if regular else file.readall()
        try:
            engine = made(file.fileno() if data is None else data)
        except module.LoadError as error:
            raise ProgramError(f"{path}: {error}") from None
        found = outline(FileBytes(file.fileno()) if data is None else data)
        if regular and _written(before) != _written(os.fstat(file.fileno())):
            raise ProgramError(f"{path}: the file was changed while it was read: load it again")
    return engine, found


def _written(status: os.stat_result) -> tuple[int, int]:
    """What changes when somebody writes to a file."""
    return status.st_size, status.st_mtime_ns
