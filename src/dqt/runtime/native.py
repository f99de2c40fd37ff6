"""The native module, and what is said of it without a program."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from dqt.arith.whole import index
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


def of_file(module: ModuleType, made: Callable[[bytes], Any], path: Path) -> tuple[Any, tuple[Signature, str]]:
    """The engine of a file, which verifies it; its signature and digest. The program is never an object of Python."""
    data = path.read_bytes()
    try:
        return made(data), outline(data)
    except module.LoadError as error:
        raise ProgramError(f"{path}: {error}") from None
