"""The log for TensorBoard: whole files, what a full disk keeps back comes later, a resumed run replaces its steps."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from dqt.train.board import Board
from dqt.train.logbook import HISTORY, Logbook


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]
        EventAccumulator,
    )

    found = EventAccumulator(str(folder))
    found.Reload()
    return {tag: [(e.step, e.value) for e in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def test_every_flush_is_a_whole_file_and_together_they_are_the_log(tmp_path: Path) -> None:
    board = Board(tmp_path / "b", 0)
    for step in range(4):
        board.scalar("loss/8", 0.5 * step, step)
        assert board.flush() == ""
    assert board.flush() == ""
    assert len(list((tmp_path / "b").iterdir())) == 4, "nothing new is no file"
    assert scalars(tmp_path / "b") == {"loss/8": [(step, 0.5 * step) for step in range(4)]}
    resumed = Board(tmp_path / "b", 2)
    resumed.began += 1
    resumed.scalar("loss/8", 9.0, 3)
    resumed.flush()
    assert scalars(tmp_path / "b") == {"loss/8": [(0, 0.0), (1, 0.5), (3, 9.0)]}
    Board(tmp_path / "b", 0)
    assert not (tmp_path / "b").exists()


def test_a_full_disk_keeps_the_log_back_and_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    options: dict[str, Any] = {"active": True, "progress": False, "total_steps": 9, "epochs": 1}
    with Logbook(tmp_path, step=0, **options) as book:
        assert book.board is not None
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            for step in (10, 20):
                book.step(step, 0.1, {"8": 1.0}, None)
                book._flush()
    assert caplog.text.count("No space left on device") == 1
    assert scalars(tmp_path / "tensorboard")["loss/8"] == [(10, 1.0), (20, 1.0)]


def test_a_resumed_run_writes_the_history_it_has(tmp_path: Path) -> None:
    with Logbook(tmp_path, active=True, progress=False, total_steps=9, step=3, epochs=1) as book:
        book.history([{"epoch": 1}])
    assert (tmp_path / HISTORY).read_text() == '{"epoch": 1}\n'
