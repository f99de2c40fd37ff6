"""``dqt eval imagefolder=PATH``: pictures of any size, by several processes, from where an earlier run stopped."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import dqt
from dqt.data.pictures import stacked, tree
from dqt.program.pixels import pixels_to_inputs
from dqt.runtime import many
from dqt.testing import Builder

from .conftest import Call

SIZE, RESIZE = 8, 10
CLASSES = ("ant", "bee", "cat")
COUNTS = (3, 2, 4)
INFO = {"mean": [0.5, 0.25, 0.75], "std": [0.25, 0.5, 1.0], "classes": list(CLASSES), "resize": RESIZE}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(7)
    for name, count in zip(CLASSES, COUNTS, strict=True):
        (Path("pictures") / name).mkdir(parents=True)
        for i in range(count):  # wide, high, and grey
            shape = [(12, 20, 3), (31, 14, 3), (16, 16)][i % 3]
            Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(f"pictures/{name}/{i}.png")


def saved(info: dict[str, object] = INFO) -> dqt.Program:
    b = Builder(5, (3, SIZE, SIZE))
    program = replace(b.build(b.linear(b.flatten("v0"), len(CLASSES), integers=True)), info=info)
    program.save("net.dqt")
    return program


def rows(call: Call, *words: str) -> list[dict[str, object]]:
    return list(call("eval", "net.dqt", "imagefolder=pictures", "--bits", "8,2", *words, "--json").json["rows"])


def refused(call: Call, *words: str) -> str:
    """What a command says that ends with an error."""
    found = call(*words)
    assert found.code == 1, found
    return found.err


def test_one_process_several_and_the_interpreter_agree(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    program = saved()
    found = tree(Path("pictures"))
    x = pixels_to_inputs(program, stacked(found, range(len(found)), RESIZE, SIZE))
    right = [float((dqt.interpret(program, x, bits).argmax(1) == found.labels).mean()) for bits in (8, 2)]
    monkeypatch.setattr(many, "CHUNK", 4)
    alone = rows(call, "--processes", "1")
    assert [row["accuracy_integer"] for row in alone] == right
    assert rows(call, "--processes", "2") == alone
    assert rows(call, "--processes", "1", "--engine", "interpret")[0]["accuracy_integer"] == right[0]


def test_a_run_goes_on_where_it_stopped(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    saved()
    monkeypatch.setattr(many, "CHUNK", 2)
    whole = rows(call, "--processes", "1")
    broken = Path("pictures/cat/3.png")
    before, times = broken.read_bytes(), broken.stat()
    broken.write_bytes(b"no picture".ljust(len(before)))
    os.utime(broken, ns=(times.st_atime_ns, times.st_mtime_ns))
    said = refused(call, "eval", "net.dqt", "imagefolder=pictures", "--bits", "8,2", "--processes", "1", "--out", "run")
    assert "cat/3.png: not a readable image" in said
    (store,) = Path("run").glob("parts-*")
    kept = sorted(path.name for path in store.iterdir())
    assert 0 < len(kept) < 5
    broken.write_bytes(before)
    os.utime(broken, ns=(times.st_atime_ns, times.st_mtime_ns))
    worked: list[int] = []
    work = many._Worker.__call__

    def noted(self: many._Worker, place: int) -> Any:
        worked.append(place)
        return work(self, place)

    monkeypatch.setattr(many._Worker, "__call__", noted)
    (store / "1.npz").write_bytes(b"damaged")
    assert rows(call, "--processes", "1", "--out", "run") == whole
    assert sorted(worked) == sorted({0, 1, 2, 3, 4} - {int(Path(name).stem) for name in kept} | {1})
    shutil.copy("pictures/ant/0.png", "pictures/ant/9.png")  # other pictures: nothing of the earlier run is taken
    worked.clear()
    rows(call, "--processes", "1", "--out", "run")
    assert len(worked) == 5


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_picture_that_cannot_be_read_is_named(call: Call, processes: str, monkeypatch: pytest.MonkeyPatch) -> None:
    saved()
    monkeypatch.setattr(many, "CHUNK", 4)
    Path("pictures/bee/1.png").write_bytes(b"no picture")
    said = refused(call, "eval", "net.dqt", "imagefolder=pictures", "--processes", processes)
    assert "bee/1.png: not a readable image" in said


def test_folders_that_do_not_fit_are_refused(call: Call) -> None:
    saved()
    Path("pictures/dog").mkdir()
    assert "dog: no pictures" in refused(call, "eval", "net.dqt", "imagefolder=pictures")
    shutil.copy("pictures/ant/0.png", "pictures/dog/0.png")
    assert "no class of the program is called 'dog'" in refused(call, "eval", "net.dqt", "imagefolder=pictures")
    assert "elsewhere: no such folder" in refused(call, "eval", "net.dqt", "imagefolder=elsewhere")
    saved({name: value for name, value in INFO.items() if name != "classes"})
    assert "4 class folders, and the program has 3 classes" in refused(call, "eval", "net.dqt", "imagefolder=pictures")
    shutil.rmtree("pictures/dog")
    shutil.rmtree("pictures/ant")
    assert "2 class folders, and the program has 3 classes" in refused(call, "eval", "net.dqt", "imagefolder=pictures")


def test_only_folders_of_pictures_are_read_by_several_processes(call: Call) -> None:
    saved()
    np.savez("own.npz", x=np.zeros((3, 3, SIZE, SIZE), np.float32), y=[0, 1, 2])
    assert "--processes" in refused(call, "eval", "net.dqt", "npz=own.npz", "--processes", "2")
