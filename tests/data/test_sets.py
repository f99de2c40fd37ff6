"""Splits that never change, and folders whose images agree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dqt.data.errors import DataError
from dqt.data.sets import SPLIT_SEED, hold_out, read, split


@pytest.mark.parametrize(("classes", "total", "count"), [(10, 1797, 359), (3, 50, 7), (7, 41, 20), (1, 9, 2)])
def test_the_split_is_that_of_scikit_learn(classes: int, total: int, count: int) -> None:
    selection = pytest.importorskip("sklearn.model_selection")
    labels = np.random.default_rng(total).integers(0, classes, total)
    labels[: 2 * classes] = np.tile(np.arange(classes), 2)
    kept, held = selection.train_test_split(np.arange(total), test_size=count, random_state=SPLIT_SEED, stratify=labels)
    found = hold_out(labels, count, "the set")
    assert np.array_equal(found[0], np.sort(kept))
    assert np.array_equal(found[1], np.sort(held))


@pytest.mark.parametrize(
    ("labels", "count", "message"),
    [
        ([0, 0, 1, 1], 4, "cannot hold out 4 of 4 samples: between 1 and 3 can be"),
        ([0, 0, 1], 1, "a class has one sample alone"),
        ([0, 0, 1, 1], 1, "2 classes need at least one sample on each side"),
    ],
)
def test_a_split_that_cannot_be_is_refused(labels: list[int], count: int, message: str) -> None:
    with pytest.raises(DataError, match=message):
        hold_out(np.array(labels), count, "the set")


def test_a_folder_is_in_colour_if_any_image_is(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.new("L", (4, 3), 7).save(tmp_path / name / "0.png")
    assert read(f"folder={tmp_path}").train is not None
    grey = split_shape(tmp_path)
    Image.new("RGB", (4, 3), (1, 2, 3)).save(tmp_path / "b" / "1.png")
    assert (grey, split_shape(tmp_path)) == ((1, 3, 4), (3, 3, 4))
    forced = read(f"folder={tmp_path}", like=(1, 3, 4)).train
    assert forced is not None
    assert forced.x.shape == (3, 1, 3, 4)


def split_shape(path: Path) -> tuple[int, ...]:
    train = read(f"folder={path}").train
    assert train is not None
    return train.x.shape[1:]


@pytest.mark.parametrize("part", ["train", "test"])
def test_one_part_of_a_folder_may_be_there_alone(tmp_path: Path, part: str) -> None:
    for name, grey in (("cat", 1), ("dog", 2)):
        (tmp_path / part / name).mkdir(parents=True)
        Image.new("L", (4, 3), grey).save(tmp_path / part / name / "0.png")
        (tmp_path / part / name / "._0.png").write_bytes(b"hidden: written by macOS")
    arrays = read(f"folder={tmp_path}")
    assert arrays.classes == ("cat", "dog")
    found, other = (arrays.test, arrays.train) if part == "test" else (arrays.train, arrays.test)
    assert other is None
    assert found is not None
    assert found.x[:, 0, 0, 0].tolist() == [1, 2]
    assert found.labels.tolist() == [0, 1]
    (tmp_path / "birds").mkdir()  # then train or test is a class of its own, which holds no images
    with pytest.raises(DataError, match="birds: no images"):
        read(f"folder={tmp_path}")


def test_a_test_part_alone_is_no_training_data(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x_test=np.zeros((4, 2)), y_test=np.arange(4))
    arrays = read(f"npz={tmp_path / 'x.npz'}")
    assert arrays.train is None
    assert arrays.test is not None
    with pytest.raises(DataError, match="samples for test alone"):
        split(arrays)


def test_a_path_alone_says_how_to_name_it(tmp_path: Path) -> None:
    (tmp_path / "x.npz").touch()
    for path, name in ((tmp_path, "folder"), (tmp_path / "x.npz", "npz")):
        with pytest.raises(DataError, match=rf"did you mean {name}={path}\?"):
            read(str(path))
