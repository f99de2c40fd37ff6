"""Pictures of any size, read one by one: ImageNet's folders, and what becomes of a picture before a network sees it.

A picture is decoded by the rules of :mod:`dqt.data.images`, in colour. For evaluation its shorter side becomes
``resize`` pixels (bilinear, with Pillow's antialiasing) and the middle ``crop`` x ``crop`` pixels are kept, as
torchvision's ``Resize`` and ``CenterCrop`` do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from dqt.data.errors import DataError
from dqt.data.images import IMAGE_SUFFIXES, UInt8, read_image

PARTS = {"train": ("train",), "test": ("val", "validation", "test")}
"""Part -> the names of its folder."""
USUAL_CROP, USUAL_RESIZE = 224, 256


@dataclass(frozen=True, eq=False)
class Tree:
    """One folder for each class, with pictures in it or in folders below.

    Attributes:
        files: of all pictures, class by class, sorted.   labels: int64 ``[N]``.
        classes: names of the folders, sorted.
    """

    files: tuple[Path, ...]
    labels: npt.NDArray[np.int64]
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.files)

    def picture(self, index: int) -> Image.Image:
        """One picture, in colour.

        Raises:
            DataError: it cannot be read; names the file.
        """
        return colour(read_image(self.files[index]))


def tree(path: Path) -> Tree:
    """The tree in ``path``, its files in the order of torchvision's ``ImageFolder``.

    Raises:
        DataError: no such folder, fewer than two classes, or a class without pictures.
    """
    if not path.is_dir():
        raise DataError(f"{path}: no such folder")
    classes = tuple(sorted(entry.name for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith(".")))
    if len(classes) < 2:
        raise DataError(f"{path}: need one folder of pictures for each of two or more classes")
    files: list[Path] = []
    counts = []
    for name in classes:
        found = sorted(file for file in (path / name).rglob("*") if _is_picture(file))
        if not found:
            raise DataError(f"{path / name}: no pictures ({', '.join(sorted(IMAGE_SUFFIXES))})")
        files += found
        counts.append(len(found))
    return Tree(tuple(files), np.repeat(np.arange(len(classes)), counts), classes)


def part_of(path: Path, part: str) -> Path | None:
    """The folder of ``"train"`` or ``"test"`` in ``path``; None where there is none."""
    return next((path / name for name in PARTS[part] if (path / name).is_dir()), None)


def colour(planes: UInt8) -> Image.Image:
    """uint8 ``[1 or 3, H, W]`` as a picture of three colours."""
    return Image.fromarray(np.ascontiguousarray(np.broadcast_to(planes, (3, *planes.shape[1:])).transpose(1, 2, 0)))


def centred(picture: Image.Image, resize: int, crop: int) -> UInt8:
    """The middle of a picture for evaluation, uint8 ``[3, crop, crop]``; see the module."""
    width, height = picture.size
    short, long = min(width, height), max(width, height)
    if short != resize:
        longer = int(resize * long / short)
        size = (resize, longer) if width <= height else (longer, resize)
        picture = picture.resize(size, Image.Resampling.BILINEAR)
    width, height = picture.size
    left, top = round((width - crop) / 2), round((height - crop) / 2)
    return planes_of(picture.crop((left, top, left + crop, top + crop)))


def planes_of(picture: Image.Image) -> UInt8:
    """uint8 ``[3, H, W]``."""
    return np.ascontiguousarray(np.asarray(picture).transpose(2, 0, 1))


def stacked(source: Tree, indices: Sequence[int], resize: int, crop: int) -> UInt8:
    """The pictures at ``indices`` for evaluation, uint8 ``[n, 3, crop, crop]``."""
    return np.stack([centred(source.picture(int(i)), resize, crop) for i in indices])


def _is_picture(file: Path) -> bool:
    return file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(".") and file.is_file()
