"""How a file becomes an engine: what is read, what stays, and what somebody does to the file meanwhile."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dqt.program import container
from dqt.program.interpret import execute
from dqt.program.program import Program, ProgramError
from dqt.runtime import Runtime
from dqt.runtime.runtime import kernel_sets
from dqt.testing import Builder, inputs, random_program

LARGE = 2 << 20
"""Bytes of weights from which the engine packs all of them into one block of huge pages."""


def large() -> Program:
    """More weights than that: layers of one tap and of nine, of whole and of half panels, of slices."""
    b = Builder(0, shape=(65, 6, 6))
    y = b.conv(b.conv("v0", 256), 257, padding=(0, 0, 0, 0))
    y = b.conv(b.conv(y, 513, (1, 1), padding=(0, 0, 0, 0)), 256, padding=(0, 0, 0, 0))
    program = b.build(b.linear(b.flatten(y), 520))
    assert sum(layer.weights for layer in program.space.layers) > LARGE
    return program


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Program, Path]:
    program = large()
    path = tmp_path_factory.mktemp("load") / "net.dqt"
    program.save(path)
    return program, path


@pytest.mark.parametrize("isa", kernel_sets())
def test_many_weights_share_one_block(isa: str, saved: tuple[Program, Path]) -> None:
    program, path = saved
    x = inputs(program, 2)
    runs = [Runtime(path, threads=1, isa=isa), Runtime(program, threads=1, isa=isa)]
    assert runs[0].weight_bytes > LARGE
    for b in program.space.widths:
        want = execute(program, x, b).codes
        for run in runs:
            np.testing.assert_array_equal(run.codes(x, b), want)


def test_who_overwrites_or_cuts_the_file_does_not_touch_the_engine(saved: tuple[Program, Path], tmp_path: Path) -> None:
    program, path = saved
    copy = tmp_path / "net.dqt"
    copy.write_bytes(path.read_bytes())
    x = inputs(program, 1)
    want, run = execute(program, x, 4).codes, Runtime(copy, threads=1)
    with copy.open("r+b") as file:
        file.write(bytes(1 << 20))
    np.testing.assert_array_equal(run.codes(x, 4), want)
    os.truncate(copy, 10)
    np.testing.assert_array_equal(run.codes(x, 4), want)


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "net.dqt"
    random_program(0).save(path)
    plain = container.FileBytes.__getitem__

    def written(self: Any, part: slice, /) -> bytes:
        found = plain(self, part)
        os.utime(path, (1, 1))
        return found

    monkeypatch.setattr(container.FileBytes, "__getitem__", written)
    with pytest.raises(ProgramError, match=r"net\.dqt: the file was changed while it was read: load it again"):
        Runtime(path)


def test_a_pipe_is_read_to_its_end(tmp_path: Path) -> None:
    program = random_program(0)
    program.save(tmp_path / "net.dqt")
    os.mkfifo(tmp_path / "pipe")
    data = (tmp_path / "net.dqt").read_bytes()
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(data,))
    writer.start()
    run, x = Runtime(tmp_path / "pipe", threads=1), inputs(program, 2)
    writer.join()
    np.testing.assert_array_equal(run.codes(x, 2), execute(program, x, 2).codes)


def test_a_folder_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        Runtime(tmp_path)
