"""Files are whole or as they were, keep their mode, and what is no file stays what it is."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from dqt.arith.files import FULL, remove_abandoned, write_file

OLD, NEW = b"what was there before", b"new"


@pytest.fixture(autouse=True)
def _umask() -> Iterator[None]:
    before = os.umask(0o027)
    yield
    os.umask(before)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(OLD)
    return path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def listed(folder: Path) -> list[str]:
    return sorted(item.name for item in folder.iterdir())


def test_parts_are_joined_and_text_is_utf8(path: Path) -> None:
    write_file(path, b"a", memoryview(b"b"), bytearray(b"c"), "\u03b6\n")
    assert path.read_bytes() == b"abc\xce\xb6\n"
    write_file(str(path))
    assert path.read_bytes() == b""
    assert listed(path.parent) == ["file"]


def test_a_new_file_gets_the_mode_of_the_umask(tmp_path: Path) -> None:
    write_file(tmp_path / "new", NEW)
    assert mode(tmp_path / "new") == 0o640


@pytest.mark.parametrize("wanted", [0o600, 0o640, 0o666, 0o755, 0o4711])
def test_an_existing_file_keeps_its_mode(wanted: int, path: Path) -> None:
    path.chmod(wanted)
    write_file(path, NEW)
    assert (mode(path), path.read_bytes()) == (wanted, NEW)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_an_existing_file_keeps_its_owner_and_group(path: Path) -> None:
    os.chown(path, 1234, 2345)
    path.chmod(0o4640)  # a change of owner clears the set-user bit: the mode comes after it
    write_file(path, NEW)
    now = path.stat()
    assert (now.st_uid, now.st_gid, mode(path)) == (1234, 2345, 0o4640)


def test_another_group_does_not_inherit_the_rights_of_one_that_cannot_be_kept(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.chmod(0o664)
    real = os.stat_result

    def refused(*_: Any) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    status = list(path.stat())
    status[4], status[5] = status[4] + 1, status[5] + 1  # of another user and another group
    monkeypatch.setattr(os, "fchown", refused)
    monkeypatch.setattr("dqt.arith.files._stat", lambda _: real(status))
    write_file(path, NEW)
    assert (mode(path), path.read_bytes()) == (0o604, NEW)


def test_links_stay_and_their_target_is_written(path: Path) -> None:
    folder = path.parent / "folder"
    folder.mkdir()
    link, second = folder / "link", path.parent / "second"
    link.symlink_to("../file")  # relative to the folder of the link, not to ours
    second.symlink_to(link)
    write_file(second, NEW)
    assert second.is_symlink()
    assert link.is_symlink()
    assert path.read_bytes() == NEW
    nowhere = path.parent / "nowhere"
    nowhere.symlink_to("made")
    write_file(nowhere, NEW)
    assert (path.parent / "made").read_bytes() == NEW
    assert nowhere.is_symlink()


def test_links_in_a_circle_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="links lead in a circle") as caught:
        write_file(tmp_path / "a", NEW)
    assert caught.value.errno == errno.ELOOP


def test_a_pipe_that_nobody_reads_is_an_error_and_stays_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match="nothing reads from it: start its reader first") as caught:
        write_file(pipe, NEW)
    assert caught.value.filename == str(pipe)
    assert pipe.is_fifo()


def test_a_pipe_is_written_through(tmp_path: Path) -> None:
    pipe, data = tmp_path / "pipe", bytes(range(256)) * 1024  # more than the 64 KiB that a pipe holds
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDWR)  # a writer, too: its end does not come before that of write_file
    with ThreadPoolExecutor(1) as pool, os.fdopen(reader, "rb") as file:
        done = pool.submit(write_file, pipe, data)
        assert file.read(len(data)) == data
        done.result()
    assert pipe.is_fifo()


def test_devices_are_written_to_and_stay() -> None:
    write_file(os.devnull, NEW)
    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode)
    with pytest.raises(OSError, match=r"No space left on device\): free some space") as caught:
        write_file("/dev/full", NEW)
    assert caught.value.filename == "/dev/full"


SCRIPT = """
import os, sys
from dqt.arith.files import write_file
print("before", flush=True)
write_file(sys.argv[1], b"x" * 100_000)
print("after")
"""


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "link"])
@pytest.mark.parametrize("kind", ["pipe", "file"])
def test_standard_output_is_written_where_it_stands(name: str, kind: str, tmp_path: Path) -> None:
    """Also where it is a file: what was printed before and after stays around it."""
    if name == "link":
        (tmp_path / "link").symlink_to("/dev/stdout")
        name = str(tmp_path / "link")
    command = [sys.executable, "-c", SCRIPT, name]
    if kind == "pipe":
        said = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    else:
        with (tmp_path / "out").open("wb") as file:
            subprocess.run(command, stdout=file, check=True)
        said = (tmp_path / "out").read_bytes()
    assert said == b"before\n" + b"x" * 100_000 + b"after\n"


def test_a_folder_and_a_missing_folder_are_errors_that_say_what_to_do(path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="give the name of a file") as folder:
        write_file(path.parent, NEW)
    with pytest.raises(FileNotFoundError, match="make its folder first") as missing:
        write_file(path.parent / "none" / "file", NEW)
    with pytest.raises(NotADirectoryError, match="a part of its path is a file") as below:
        write_file(path / "file", NEW)
    with pytest.raises(OSError, match="choose a shorter name") as long:
        write_file(path.parent / ("n" * 300), NEW)
    named = [path.parent, path.parent / "none" / "file", path / "file", path.parent / ("n" * 300)]
    assert [error.value.filename for error in (folder, missing, below, long)] == [str(name) for name in named]
    assert listed(path.parent) == ["file"]


def test_the_longest_name_that_a_system_allows_is_no_problem(tmp_path: Path) -> None:
    for name in ("n" * 255, "\u03b6" * 127):
        write_file(tmp_path / name, NEW)
        assert (tmp_path / name).read_bytes() == NEW


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file(call: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os if call == "fsync" else Path, call, full)
        with pytest.raises(OSError, match=r"No space left on device\); the file that was there is kept: free") as error:
            write_file(path, NEW)
        with pytest.raises(OSError, match=r"No space left on device\): free some space"):
            write_file(path.with_name("new"), NEW)
    assert (error.value.errno, error.value.filename) == (errno.ENOSPC, str(path))
    assert path.read_bytes() == OLD
    assert listed(path.parent) == ["file"]


LIMITED = """
import resource, sys
from dqt.arith.files import write_file
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
for path in sys.argv[1:]:
    try:
        write_file(path, bytes(5000))
    except OSError as error:
        print(error.filename, error.strerror)
"""


def test_a_write_that_the_system_cuts_off_leaves_the_old_file(path: Path) -> None:
    new = path.with_name("new")
    command = [sys.executable, "-c", LIMITED, str(path), str(new)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert said == [
        f"{path} cannot be written (File too large); the file that was there is kept: {FULL}",
        f"{new} cannot be written (File too large): {FULL}",
    ]
    assert path.read_bytes() == OLD
    assert listed(path.parent) == ["file"]


def test_an_interruption_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", interrupted)
        with pytest.raises(KeyboardInterrupt):
            write_file(path, NEW)
    assert path.read_bytes() == OLD
    assert listed(path.parent) == ["file"]


KILLED = """
import os, signal, sys
from pathlib import Path
from dqt.arith.files import write_file
def hang(*_):
    print("there", flush=True)
    sys.stdin.read()
os.fsync = hang
write_file(sys.argv[1], b"half")
"""


def test_what_a_killed_writer_leaves_is_removed_and_that_of_a_living_one_is_not(path: Path) -> None:
    other = path.with_name("file2")
    writers = []
    for target in (path, path, other):
        command = [sys.executable, "-c", KILLED, str(target)]
        writer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        assert writer.stdout.readline() == "there\n"
        writers.append(writer)
    assert len(listed(path.parent)) == 4
    for writer in writers[1:]:
        writer.kill()
        writer.communicate()
    remove_abandoned(path)
    left = listed(path.parent)
    assert len(left) == 3  # the file, the temporary of the living writer, that of another file
    writers[0].communicate("")
    assert path.read_bytes() == b"half"
    remove_abandoned(other)
    assert listed(path.parent) == ["file"]


# where a rename is not allowed


def no_new_names(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """A folder that takes no new file: root, who runs tests in a container, has no such folder otherwise."""
    real = os.open

    def refused(name: Any, flags: int, *rest: Any, **more: Any) -> int:
        if flags & os.O_EXCL:
            raise OSError(code, os.strerror(code))
        return real(name, flags, *rest, **more)

    monkeypatch.setattr(os, "open", refused)


@pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM, errno.EROFS])
def test_in_a_folder_that_takes_no_new_file_the_old_one_is_overwritten(
    code: int, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.chmod(0o604)
    inode = path.stat().st_ino
    no_new_names(monkeypatch, code)
    write_file(path, NEW)  # shorter than the old one: nothing of that may stay behind it
    assert path.read_bytes() == NEW
    assert (path.stat().st_ino, mode(path)) == (inode, 0o604)
    with pytest.raises(OSError, match="choose a place that you may write"):
        write_file(path.with_name("new"), NEW)


def test_a_file_that_is_a_mount_of_its_own_is_overwritten(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(*_: Any) -> None:
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))

    monkeypatch.setattr(Path, "replace", busy)
    write_file(path, NEW)
    assert path.read_bytes() == NEW
    assert listed(path.parent) == ["file"]


def test_an_overwrite_that_fails_puts_the_old_bytes_back(path: Path) -> None:
    script = f"""
import errno, os, resource
from dqt.arith.files import write_file
real = os.open
def refused(name, flags, *rest, **more):
    if flags & os.O_EXCL:
        raise PermissionError(errno.EACCES, "Permission denied")
    return real(name, flags, *rest, **more)
os.open = refused
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
try:
    write_file({str(path)!r}, bytes(5000))
except OSError as error:
    print(error.strerror)
"""
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert said.startswith("cannot be written (File too large); the file that was there is kept")
    assert path.read_bytes() == OLD


def test_a_file_that_may_not_be_written_is_not_replaced(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() == 0:  # whom the mode does not stop
        monkeypatch.setattr(os, "access", lambda *_: False)
    path.chmod(0o444)
    with pytest.raises(PermissionError, match="kept: choose a place that you may write, or change its permissions"):
        write_file(path, NEW)
    assert path.read_bytes() == OLD
