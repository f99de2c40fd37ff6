"""``dqt eval`` on a user's own arrays and images: any shape, and what is said of data that does not fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import dqt
from dqt.program.pixels import pixels_to_inputs
from dqt.testing import Builder

from .conftest import Call

CLASSES = 3
PIXELS: dict[str, Any] = {"mean": [0.5, 0.25, 0.75], "std": [0.25, 0.5, 1.0]}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def saved(shape: tuple[int, ...], *, outputs: int = CLASSES, **info: Any) -> dqt.Program:
    """A classifier of samples of ``shape`` in net.dqt; its scores differ from sample to sample."""
    b = Builder(5, shape)
    program = replace(b.build(b.linear(b.flatten("v0"), outputs, integers=True)), info=info)
    program.save("net.dqt")
    return program


def labels(count: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.arange(count) % CLASSES


@pytest.mark.parametrize("shape", [(6, 16), (10,), (2, 3, 5), (3, 4, 5)])
def test_samples_of_any_shape_are_scored_as_interpret_answers(call: Call, shape: tuple[int, ...]) -> None:
    program = saved(shape)
    x = np.random.default_rng(0).standard_normal((30, *shape)).astype(np.float32)
    y = dqt.interpret(program, x, 2).argmax(1)
    assert len(np.unique(y)) > 1
    np.savez("own.npz", x=x, y=y)
    data = call("eval", "net.dqt", "npz=own.npz", "--bits", "8,2", "--out", "run", "--json").json
    assert (data["samples"], data["data"]) == (30, "all of own.npz")
    assert data["rows"][1]["accuracy_integer"] == 1.0
    assert data["rows"][0]["accuracy_integer"] == (dqt.interpret(program, x, 8).argmax(1) == y).mean()
    assert call("report", "run").code == 0
    assert call("eval", "net.dqt", "npz=own.npz", "--limit", "7", "--json").json["samples"] == 7


@pytest.mark.parametrize("dtype", [np.float64, np.int64, np.float16])
def test_other_numbers_are_what_the_model_takes(call: Call, dtype: Any) -> None:
    program = saved((6,))
    x = np.random.default_rng(0).integers(-3, 4, (20, 6)).astype(dtype)
    np.savez("own.npz", images=x, labels=dqt.interpret(program, x.astype(np.float32), 8).argmax(1))
    assert call("eval", "net.dqt", "npz=own.npz", "--bits", "8", "--json").json["rows"][0]["accuracy_integer"] == 1.0


def test_bytes_are_pixels_in_either_layout(call: Call) -> None:
    program = saved((3, 4, 5), **PIXELS)
    planes = np.random.default_rng(0).integers(0, 256, (20, 3, 4, 5), dtype=np.uint8)
    y = dqt.interpret(program, pixels_to_inputs(program, planes), 8).argmax(1)
    for x in (planes, planes.transpose(0, 2, 3, 1)):
        np.savez("own.npz", x_test=x, y_test=y, x_train=x[:1], y_train=y[:1])
        data = call("eval", "net.dqt", "npz=own.npz", "--bits", "8", "--json").json
        assert (data["samples"], data["data"]) == (20, "the npz test set")
        assert data["rows"][0]["accuracy_integer"] == 1.0


def test_bytes_for_a_program_that_takes_no_pixels_are_refused(call: Call) -> None:
    saved((6,))
    np.savez("own.npz", x=np.zeros((4, 6), np.uint8), y=labels(4))
    done = call("eval", "net.dqt", "npz=own.npz")
    assert done.code == 1
    assert "own.npz: uint8 values are pixels" in done.err
    assert "pass a float32 array" in done.err


def test_what_training_has_seen_is_not_scored(call: Call) -> None:
    saved((3, 4, 5), data="npz", **PIXELS)
    np.savez("own.npz", x=np.zeros((30, 3, 4, 5), np.uint8), y=labels(30))
    data = call("eval", "net.dqt", "npz=own.npz", "--bits", "8", "--json").json
    assert (data["samples"], data["data"]) == (6, "the fifth of own.npz that training holds out")


def write_folders(names: tuple[str, ...], size: tuple[int, int] = (5, 4)) -> None:
    for i, name in enumerate(names):
        (Path("images") / name).mkdir(parents=True)
        for j in range(2):
            Image.new("L", size, 20 + 60 * i + 9 * j).save(Path("images") / name / f"{j}.png")


def test_folders_are_the_classes_of_their_names(call: Call) -> None:
    program = saved((3, 4, 5), classes=["dog", "cat", "bird"], **PIXELS)
    write_folders(("bird", "dog"))
    grey = np.array([20, 29, 80, 89], np.uint8)  # the images of bird, then those of dog
    answers = dqt.interpret(program, pixels_to_inputs(program, np.tile(grey[:, None, None, None], (1, 3, 4, 5))), 8)
    data = call("eval", "net.dqt", "folder=images", "--bits", "8", "--json").json
    assert data["samples"] == 4
    assert data["rows"][0]["accuracy_integer"] == (answers.argmax(1) == [2, 2, 0, 0]).mean()


def test_folders_of_other_names_go_by_their_order_or_are_refused(call: Call) -> None:
    saved((3, 4, 5), classes=["dog", "cat", "bird"], **PIXELS)
    write_folders(("n01", "n02", "n03"))
    done = call("eval", "net.dqt", "folder=images", "--bits", "8")
    assert done.code == 0
    assert done.err == "dqt: no class folder is called as the program's classes are: matched in sorted order\n"
    (Path("images") / "n01").rename(Path("images") / "dog")
    done = call("eval", "net.dqt", "folder=images", "--bits", "8")
    assert (done.code, done.out) == (1, "")
    assert "images: no class of the program is called 'n02'; it knows dog, cat, bird" in done.err


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.zeros((4, 6))}, "x has no labels beside it"),
        ({"x": np.zeros((4, 5)), "y": labels(4)}, "own.npz: an input of shape [4, 5]: this program takes [N, 6]"),
        ({"x": np.zeros((4, 6)), "y": labels(4) / 2}, "y is float64 [4]; need integers [4]"),
        ({"x": np.zeros((4, 6)), "y": labels(4) + 1}, "own.npz: labels: 3 of sample 2 is not a class: need 0 to 2"),
        ({"x": np.full((4, 6), np.nan), "y": labels(4)}, "own.npz: sample 0 of the input holds a NaN"),
    ],
)
def test_data_that_does_not_fit_is_refused(call: Call, arrays: dict[str, Any], message: str) -> None:
    saved((6,))
    np.savez("own.npz", **arrays)
    done = call("eval", "net.dqt", "npz=own.npz")
    assert (done.code, done.out) == (1, "")
    assert message in done.err
    assert len(done.err.splitlines()) == 1


def test_outputs_that_are_no_class_scores_are_refused(call: Call) -> None:
    np.savez("own.npz", x=np.zeros((4, 6)), y=labels(4))
    saved((6,), outputs=1)
    done = call("eval", "net.dqt", "npz=own.npz")
    assert (done.code, done.out) == (1, "")
    assert "eval scores classes: it needs an output [N, classes] of two or more, this program's is [1]" in done.err
    b = Builder(1, (2, 4, 4))
    b.build(b.conv("v0", 2)).save("net.dqt")
    np.savez("own.npz", x=np.zeros((4, 2, 4, 4)), y=labels(4))
    assert "shape [4]: need integers [4, 4, 4], the class of each" in call("eval", "net.dqt", "npz=own.npz").err
