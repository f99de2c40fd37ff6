"""Which arrays of a file are samples and labels, and what is said of files where that is not clear."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dqt.data.arrays import read_parts, read_samples
from dqt.data.errors import DataError

X = np.arange(24, dtype=np.float32).reshape(4, 6)
Y = np.array([0, 2, 1, 0])


def saved(tmp_path: Path, **arrays: Any) -> Path:
    np.savez(tmp_path / "file.npz", **arrays)
    return tmp_path / "file.npz"


@pytest.mark.parametrize("names", [("x", "y"), ("X", "Y"), ("images", "labels"), ("data", "target"), ("x", "labels")])
def test_samples_and_labels_have_several_names(tmp_path: Path, names: tuple[str, str]) -> None:
    parts = read_parts(saved(tmp_path, **dict(zip(names, (X, Y), strict=True)), something=X))
    assert list(parts) == [""]
    assert parts[""].x.dtype == np.float32
    assert np.array_equal(parts[""].x, X)
    assert parts[""].labels.tolist() == Y.tolist()


@pytest.mark.parametrize("form", ["{}_test", "test_{}"])
def test_parts_are_named_before_or_after(tmp_path: Path, form: str) -> None:
    names = {form.format("x"): X, form.format("y"): Y}
    assert list(read_parts(saved(tmp_path, **names))) == ["test"]
    both = read_parts(saved(tmp_path, **names, x_train=X + 1, y_train=Y))
    assert sorted(both) == ["test", "train"]
    assert np.array_equal(both["train"].x, X + 1)


@pytest.mark.parametrize("labels", [Y.astype(np.uint8), Y[:, None], Y.astype(np.int16), Y > 0])
def test_labels_are_integers(tmp_path: Path, labels: Any) -> None:
    found = read_parts(saved(tmp_path, x=X, y=labels))[""].labels
    assert found.dtype == np.int64
    assert found.tolist() == labels.ravel().tolist()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": X}, "x has no labels beside it; need x and y"),
        ({"y": Y}, "y has no samples beside it"),
        ({"x_train": X, "y_train": Y, "x_test": X}, "x_test has no labels"),
        ({"a": X, "b": Y}, "holds a, b; need x and y"),
        ({}, "holds nothing; need x and y"),
        ({"x": X, "images": X, "y": Y}, "x and images are both samples"),
        ({"x": X, "y": Y, "x_train": X, "y_train": Y}, "x and x_train could both be the training samples"),
        ({"x": X, "y": Y[:3]}, r"y is int64 \[3\]; need integers \[4\]"),
        ({"x": X, "y": Y / 2}, r"y is float64 \[4\]; need integers \[4\]"),
        ({"x": X, "y": np.eye(4, 3)}, r"y is float64 \[4, 3\]; .*; of one-hot rows, save argmax\(1\)"),
        ({"x": X, "y": Y.astype(np.uint64) + np.uint64(2**63)}, r"label 9223372036854775808 of sample 0 is no class"),
        ({"x": X, "y": Y - 1}, r"label -1 of sample 0 is no class: classes count from 0"),
        ({"x": X[:0], "y": Y[:0]}, r"x is float32 \[0, 6\]; need numbers \[N, ...\]"),
        ({"x": Y, "y": Y}, r"x is int64 \[4\]; need numbers"),
        ({"x": np.array([["a"]] * 4), "y": Y}, r"x is <U1 \[4, 1\]; need numbers"),
    ],
)
def test_what_is_not_clear_is_refused(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=rf"file\.npz: {message}"):
        read_parts(saved(tmp_path, **arrays))


def test_files_that_are_no_arrays_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", X)
    with pytest.raises(DataError, match=r"one\.npy: one array without labels"):
        read_parts(tmp_path / "one.npy")
    np.savez(tmp_path / "object.npz", x=np.array([{}], dtype=object), y=Y[:1])
    whole = saved(tmp_path, x=X, y=Y).read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.npz").write_text("no archive")
    for name in ("object.npz", "cut.npz", "text.npz"):
        with pytest.raises(DataError, match=f"{name}: not a readable file of plain arrays"):
            read_parts(tmp_path / name)
    with pytest.raises(DataError, match=r"none\.npz: no such file"):
        read_parts(tmp_path / "none.npz")


@pytest.mark.parametrize("names", [("x", "y"), ("x.npy", "y.npy"), ("x",)])
def test_an_archive_of_other_files_is_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    with zipfile.ZipFile(tmp_path / "file.npz", "w") as archive:
        for name in names:
            archive.writestr(name, b"no array")
    with pytest.raises(DataError, match=r"file\.npz: x is no array, but another kind of file in the archive"):
        read_samples(tmp_path / "file.npz")
    with pytest.raises(DataError, match=r"file\.npz: x (is no array|has no labels)"):
        read_parts(tmp_path / "file.npz")


def test_samples_alone(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", X)
    assert np.array_equal(read_samples(tmp_path / "one.npy"), X)
    assert np.array_equal(read_samples(saved(tmp_path, anything=X)), X)
    assert np.array_equal(read_samples(saved(tmp_path, images=X, labels=Y)), X)
    assert np.array_equal(read_samples(saved(tmp_path, x_train=X + 1, y_train=Y, x_test=X, y_test=Y)), X)
    with pytest.raises(DataError, match="holds a, b; need one array, or one that is named x"):
        read_samples(saved(tmp_path, a=X, b=X))
    with pytest.raises(DataError, match="x and data are both samples: leave one of them"):
        read_samples(saved(tmp_path, x=X, data=X + 1, y=Y))
    with pytest.raises(DataError, match=r"arrays \(\.npy or \.npz\): Is a directory$"):
        read_samples(tmp_path)
