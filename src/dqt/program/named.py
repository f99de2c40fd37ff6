"""What a run file or an option names in Python: ``"package.module:name"`` or ``"file.py:name"``."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from dqt.arith.errors import TaskError
from dqt.program.task import Task, task_of

CALLERS = ("program/named.py", "train/build.py")
"""Files of dqt that call what a user named."""


def names_object(given: Any) -> bool:
    """Whether ``given`` is such a name."""
    return isinstance(given, str) and ":" in given


def named_object(name: str, where: str, error: type[Exception]) -> Any:
    """The object that ``name`` names; its module is imported.

    The folder of ``file.py``, or else the working directory, joins the end of ``sys.path``: modules beside it are
    found, and none hides an installed one.

    Raises:
        error: the module cannot be imported, or has no such object; ``where`` opens the message.
    """
    source, _, attribute = name.rpartition(":")
    file = Path(source) if source.endswith(".py") else None
    beside = str((file.parent if file else Path()).resolve())
    if beside not in sys.path:
        sys.path.append(beside)
    try:
        module = _file_module(file) if file else importlib.import_module(source)
    except (ImportError, OSError, SyntaxError) as failed:
        raise error(f"{where}: cannot import {source!r}: {failed}") from None
    except MemoryError:
        raise
    except Exception as failed:  # whatever the module's own lines raise
        raise error(f"{where}: importing {source!r} raised {raised(failed)}") from failed
    try:
        return getattr(module, attribute)
    except AttributeError:
        raise error(f"{where}: {source!r} has no function or class {attribute!r}") from None


def named_task(given: str | Mapping[str, Any], where: str = "task") -> Task:
    """A task by its name; by a table of its name and settings; or one of the user's own, by the name of an object.

    Raises:
        TaskError: nothing is called so, or it is neither a task nor a function that makes one.
    """
    if not names_object(given):
        return task_of(given)
    said = f"{where} {given!r}"
    found = named_object(str(given), said, TaskError)
    if not isinstance(found, Task) and callable(found):
        try:
            found = found()
        except MemoryError:
            raise
        except Exception as failed:  # whatever it raises
            raise TaskError(f"{said} raised {raised(failed)}") from failed
    if not isinstance(found, Task):
        raise TaskError(f"{said}: a {type(found).__name__}, not a dqt.Task or a function that makes one")
    return found


def raised(error: Exception) -> str:
    """What a user's function raised, and at which line of it: the first below ours that is no machinery of imports."""
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [f for f in frames if not f.filename.endswith(CALLERS) and "importlib" not in f.filename]
    where = f", at {theirs[0].filename}:{theirs[0].lineno}" if theirs else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())}{where}"


def _file_module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
