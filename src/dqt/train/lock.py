"""One training in a run folder at a time: a lock that the system holds, and lets go when its process ends."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO

from dqt.train.checkpoint import CheckpointError

LOCK = ".lock"
"""The file in a run folder; it stays, because whoever removed it would free the lock for others who wait for it."""
GONE = 10.0
"""Seconds to wait for a lock whose process is gone: the processes that loaded its data end a little later."""
PAUSE = 0.2

logger = logging.getLogger("dqt.train")
_own: dict[Path, int] = {}
"""Folders that this process holds, and the thread that does: within it, a lock may be taken again."""


@contextmanager
def locked(folder: Path | None) -> Iterator[None]:
    """Hold ``folder`` (made where it is missing) for one training inside the block; None: nothing to hold.

    A process that is killed holds it no longer. A file system without locks gets a warning and no lock.

    Raises:
        CheckpointError: another training holds it, or the folder cannot be written.
    """
    if folder is None:
        yield
        return
    place = folder.resolve()
    if _own.get(place) == threading.get_ident():
        yield
        return
    with _opened(folder) as file:
        if _taken(file, folder):
            _own[place] = threading.get_ident()
        try:
            yield
        finally:
            _own.pop(place, None)
            with contextlib.suppress(OSError):  # children that were forked share the file: closing it is not enough
                fcntl.flock(file, fcntl.LOCK_UN)


def _opened(folder: Path) -> IO[str]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return (folder / LOCK).open("a+")
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise CheckpointError(f"{folder}: cannot be written ({reason}): choose another folder for the run") from error


def _taken(file: IO[str], folder: Path) -> bool:
    """Whether the lock is held now, with our name in it; False where the file system has none."""
    until = time.monotonic() + GONE
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(file)
            if not _is_gone(holder) or time.monotonic() > until:
                raise CheckpointError(
                    f"{folder}: another training writes here ({_described(holder)}): wait for it, stop it, or choose "
                    "another folder"
                ) from None
            time.sleep(PAUSE)
        except OSError as error:
            logger.warning(
                "%s: its file system has no locks (%s); see to it that one training alone writes there",
                folder,
                error.strerror,
            )
            return False
        else:
            _sign(file)
            return True


def _sign(file: IO[str]) -> None:
    """Say who holds the lock; a full disk leaves it unsigned."""
    me = {"process": os.getpid(), "host": socket.gethostname(), "since": f"{datetime.now():%Y-%m-%d %H:%M:%S}"}
    with contextlib.suppress(OSError):
        file.truncate(0)
        file.write(json.dumps(me))
        file.flush()


def _holder(file: IO[str]) -> dict[str, object]:
    try:
        file.seek(0)
        found = json.loads(file.read())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _is_gone(holder: dict[str, object]) -> bool:
    """Whether the process that took the lock has ended, on this machine."""
    process = holder.get("process")
    if holder.get("host") != socket.gethostname() or not isinstance(process, int) or process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _described(holder: dict[str, object]) -> str:
    if "process" not in holder:
        return "which does not say who it is"
    return f"process {holder['process']} on {holder.get('host')}, since {holder.get('since')}"
