"""One training in a folder: a second one is told who is there, and whoever is gone is no obstacle."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from dqt.train import lock
from dqt.train.checkpoint import CheckpointError
from dqt.train.fit import fit
from dqt.train.gains import fit_controller
from dqt.train.lock import LOCK, locked
from dqt.train.recipe import Recipe

from .conftest import tiny_data, tiny_net

HOLD = """
import os, sys, time
from pathlib import Path
from dqt.train.lock import locked
with locked(Path(sys.argv[1])):
    parent = os.getpid()
    if not os.fork():  # as a process that loads data: it has the file open, too, and outlives its parent a little
        while os.getppid() == parent:
            time.sleep(0.05)
        time.sleep(1)
        os._exit(0)
    print("held", flush=True)
    time.sleep(60)
"""


def holder(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, folder], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_training_is_told_who_is_there_and_a_killed_one_is_no_obstacle(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "mine"
    with holder(folder) as process:
        try:
            for resume in (False, True):
                with pytest.raises(CheckpointError, match=rf"another training writes here \(process {process.pid} on "):
                    fit(tiny_net(), tiny_data(), recipe=Recipe(), run_dir=folder, resume=resume, progress=False)
            recipe = Recipe(learn="controller", bitops=0.6)
            with pytest.raises(CheckpointError, match="another training writes here"):
                fit_controller(tiny_net(controller=True), tiny_data(), recipe=recipe, run_dir=folder, progress=False)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        began = time.monotonic()
        with locked(folder):
            assert f'"process": {os.getpid()}' in (folder / LOCK).read_text()
        assert time.monotonic() - began > 0.5, "the child held it for a while"


def test_it_may_be_taken_again_by_the_same_thread_alone(tmp_path: Path) -> None:
    refused: list[str] = []

    def other() -> None:
        try:
            with locked(tmp_path):
                pass
        except CheckpointError as error:
            refused.append(str(error))

    for _ in range(2):
        with locked(tmp_path), locked(tmp_path / "."):
            thread = threading.Thread(target=other)
            thread.start()
            thread.join()
    assert len(refused) == 2
    other()
    assert len(refused) == 2


def test_a_file_system_without_locks_is_said_and_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def none(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", none)
    with caplog.at_level(logging.WARNING, "dqt.train"), locked(tmp_path):
        pass
    assert "its file system has no locks (No locks available)" in caplog.text


def test_an_unsigned_lock_counts_and_a_folder_that_cannot_be_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "_sign", lambda file: file.truncate(0))
    with (
        locked(tmp_path),
        (tmp_path / LOCK).open("a+") as file,
        pytest.raises(CheckpointError, match="which does not say who it is"),
    ):
        lock._taken(file, tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=r"cannot be written \(File exists\): choose another folder"):
        fit(tiny_net(), tiny_data(), recipe=Recipe(), run_dir=tmp_path / "file", progress=False)


def test_resuming_what_is_not_there_makes_no_folder(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such file"):
        fit(tiny_net(), tiny_data(), recipe=Recipe(), run_dir=tmp_path / "none", resume=True, progress=False)
    assert not (tmp_path / "none").exists()
