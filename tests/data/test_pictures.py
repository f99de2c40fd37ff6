"""Folders of pictures of any size: which are found, and what a network sees of one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dqt.data.errors import DataError
from dqt.data.pictures import centred, colour, stacked, tree

RED, BLUE = (255, 0, 0), (0, 0, 255)


def save(path: Path, pixels: Any, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def test_pictures_are_found_class_by_class_and_in_folders_below(tmp_path: Path) -> None:
    grey = np.zeros((4, 4), np.uint8)
    for name in ("b/2.png", "b/below/1.JPG", "a/x.png", "a/._x.png", ".hidden/x.png"):
        save(tmp_path / name, grey)
    (tmp_path / "a" / "notes.txt").write_text("none")
    (tmp_path / "list.txt").write_text("none")
    found = tree(tmp_path)
    assert found.classes == ("a", "b")
    assert [str(file.relative_to(tmp_path)) for file in found.files] == ["a/x.png", "b/2.png", "b/below/1.JPG"]
    assert found.labels.tolist() == [0, 1, 1]


def test_folders_that_hold_no_classes_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none: no such folder"):
        tree(tmp_path / "none")
    save(tmp_path / "a" / "0.png", np.zeros((4, 4), np.uint8))
    with pytest.raises(DataError, match="two or more classes"):
        tree(tmp_path)
    (tmp_path / "b").mkdir()
    with pytest.raises(DataError, match="b: no pictures"):
        tree(tmp_path)


def test_a_picture_of_16_bits_keeps_its_high_bytes_and_orientation_is_followed(tmp_path: Path) -> None:
    save(tmp_path / "a" / "0.png", np.full((4, 4), 0x80FF, np.uint16))
    turned = np.zeros((4, 8, 3), np.uint8)
    turned[:, :4], turned[:, 4:] = RED, BLUE
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned to the right: the left half is above
    save(tmp_path / "b" / "0.png", turned, exif=exif)
    found = tree(tmp_path)
    assert (stacked(found, [0], 4, 4) == 0x80).all()
    upright = np.asarray(found.picture(1))
    assert upright.shape == (8, 4, 3)
    assert (upright[:4] == RED).all()
    assert (upright[4:] == BLUE).all()


@pytest.mark.parametrize(("height", "width"), [(10, 17), (17, 10), (10, 10)])
def test_the_middle_of_a_picture_whose_shorter_side_fits_is_cut_out(height: int, width: int) -> None:
    pixels = np.arange(3 * height * width, dtype=np.int64).reshape(3, height, width).astype(np.uint8)
    top, left = round((height - 8) / 2), round((width - 8) / 2)
    assert (centred(colour(pixels), 10, 8) == pixels[:, top : top + 8, left : left + 8]).all()


def test_other_pictures_are_resized_by_their_shorter_side() -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 44, 3), dtype=np.uint8))
    resized = np.asarray(picture.resize((int(10 * 44 / 30), 10), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    assert (centred(picture, 10, 8) == resized[:, 1:9, 3:11]).all()
