"""How every file is written: whole, or as it was before. Knows paths and bytes, nothing of what they mean."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import os
import re
import secrets
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import IO, TypeAlias

Bytes: TypeAlias = bytes | bytearray | memoryview

STREAM = re.compile(r"/dev/(stdout|stderr)|/(?:dev|proc/self)/fd/(\d+)")
"""Names of a descriptor that this process has open already."""
NAMED = 40
"""Characters of a file's name in that of its temporary file: both fit a file system's 255 bytes."""
LINKS = 40
"""Symbolic links in a row that a system follows."""
NO_RENAME = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY})
"""The folder takes no new name, or (busy) the file is a mount of its own; the file itself may still be written."""
FULL = "free some space, or write elsewhere"
DENIED = "choose a place that you may write, or change its permissions"
ADVICE = {
    errno.ENOSPC: FULL,
    errno.EDQUOT: FULL,
    errno.EFBIG: FULL,
    errno.ENOENT: "make its folder first",
    errno.ENOTDIR: "a part of its path is a file: choose another path",
    errno.EISDIR: "give the name of a file",
    errno.EACCES: DENIED,
    errno.EPERM: DENIED,
    errno.EROFS: DENIED,
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ELOOP: "its links lead in a circle",
    errno.ENXIO: "nothing reads from it: start its reader first",
    errno.EPIPE: "its reader stopped early",
}
OTHERWISE = "see to the device, or write elsewhere"


def write_file(path: str | os.PathLike[str], *parts: Bytes | str) -> None:
    """Write ``parts``, one after the other (text as UTF-8), to the file ``path``.

    The bytes go to a temporary file beside ``path``, which is renamed when they are on the disk: a reader, a crash or a
    full disk finds the old file or the new one, never a part. An existing file keeps its mode, and its owner and group
    where this user may give them; a new one has the umask's mode. A symbolic link stays and its target is written.
    Pipes and devices, ``/dev/stdout`` among them, are written to and stay what they are. In a folder that takes no new
    file an existing file is overwritten in place; its bytes are put back if that fails.

    Raises:
        OSError: of the system's own class, such as FileNotFoundError where the folder is missing; ``filename`` is
            ``path``, the message says what went wrong, what is left and what to do.
    """
    data = [part.encode() if isinstance(part, str) else part for part in parts]
    try:
        place = _followed(Path(path))
        stream = STREAM.fullmatch(str(place))
        found = _stat(place)
        if stream is not None:
            _to_stream(stream, data)
        elif found is None or stat.S_ISREG(found.st_mode):
            _to_file(place, found, data)
        elif stat.S_ISDIR(found.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        else:
            _to_device(place, data)
    except OSError as error:
        raise _explained(error, Path(path)) from error


def remove_abandoned(path: Path) -> None:
    """Remove the temporary files of ``path`` whose writers were killed; one that is being written is left alone."""
    for temporary in path.parent.glob(f".{glob.escape(path.name[:NAMED])}.{'[0-9a-f]' * 16}.tmp"):
        with contextlib.suppress(OSError), temporary.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # its writer, if alive, holds this lock
            temporary.unlink()


def _followed(place: Path) -> Path:
    """Where ``place`` leads through symbolic links; stops at a stream, whose own link leads to no file's name."""
    for _ in range(LINKS):
        if STREAM.fullmatch(str(place)) or not place.is_symlink():
            return place
        place = place.parent / place.readlink()
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))


def _stat(place: Path) -> os.stat_result | None:
    try:
        return place.stat()
    except FileNotFoundError:
        return None


def _to_stream(stream: re.Match[str], data: Sequence[Bytes]) -> None:
    """Write at the descriptor's own position: opened by its name, a file would be written from its beginning."""
    word, number = stream.groups()
    descriptor = {"stdout": 1, "stderr": 2}[word] if word else int(number)
    with os.fdopen(os.dup(descriptor), "wb") as file:
        _write(file, data)


def _to_device(place: Path, data: Sequence[Bytes]) -> None:
    # Without waiting, a pipe that nobody reads is an error; to wait for a reader would look like a hang.
    descriptor = os.open(place, os.O_WRONLY | os.O_NONBLOCK)
    os.set_blocking(descriptor, True)
    with os.fdopen(descriptor, "wb") as file:
        _write(file, data)


def _to_file(place: Path, old: os.stat_result | None, data: Sequence[Bytes]) -> None:
    if old is not None and not os.access(place, os.W_OK):  # a rename would replace even what may not be written
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    try:
        _replace(place, old, data)
    except OSError as error:
        if old is None or error.errno not in NO_RENAME:
            raise
        _overwrite(place, data)


def _replace(place: Path, old: os.stat_result | None, data: Sequence[Bytes]) -> None:
    temporary = place.with_name(f".{place.name[:NAMED]}.{secrets.token_hex(8)}.tmp")
    # Where there is an old file, nobody else may read the new one before it has the old one's mode.
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666 if old is None else 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            with contextlib.suppress(OSError):  # some network file systems have no locks
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if old is not None:
                _take_over(descriptor, old)
            _write(file, data)
            os.fsync(descriptor)
        temporary.replace(place)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    _sync(place.parent)


def _take_over(descriptor: int, old: os.stat_result) -> None:
    """Give a new file the owner, group and mode of the old one, as far as this user may."""
    new, mode = os.fstat(descriptor), stat.S_IMODE(old.st_mode)
    if new.st_uid != old.st_uid:
        with contextlib.suppress(OSError):
            os.fchown(descriptor, old.st_uid, -1)
    if new.st_gid != old.st_gid:
        try:
            os.fchown(descriptor, -1, old.st_gid)
        except OSError:
            mode &= ~stat.S_IRWXG  # what the old group might do, another group may not
    if stat.S_IMODE(os.fstat(descriptor).st_mode) != mode:
        os.fchmod(descriptor, mode)


def _overwrite(place: Path, data: Sequence[Bytes]) -> None:
    with place.open("r+b") as file:
        before = file.read()
    try:
        _rewrite(place, data)
    except OSError:
        with contextlib.suppress(OSError):
            _rewrite(place, [before])  # the blocks that it has are still its own: this needs no new space
        raise


def _rewrite(place: Path, data: Sequence[Bytes]) -> None:
    with place.open("r+b") as file:
        _write(file, data)
        file.truncate()
        os.fsync(file.fileno())


def _write(file: IO[bytes], data: Sequence[Bytes]) -> None:
    for part in data:
        file.write(part)
    file.flush()


def _sync(folder: Path) -> None:
    """Put the new name on the disk, too; not every file system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _explained(error: OSError, path: Path) -> OSError:
    code = error.errno or errno.EIO
    there = os.path.isfile(path)  # noqa: PTH113 - Path.is_file raises where a name is too long
    kept = "; the file that was there is kept" if there else ""
    said = f"cannot be written ({error.strerror or os.strerror(code)}){kept}: {ADVICE.get(code, OTHERWISE)}"
    return OSError(code, said, str(path))
