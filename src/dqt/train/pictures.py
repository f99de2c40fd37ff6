"""Pictures that are read while a network trains: ImageNet's folders."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from dqt.data.errors import DataError
from dqt.data.pictures import PARTS, Tree, centred, part_of, planes_of, tree
from dqt.data.sets import hold_out
from dqt.train.data import IMAGENET

AREA, RATIO, TRIES = (0.08, 1.0), (3 / 4, 4 / 3), 10
"""Of a random crop: its part of the picture, its width over its height, and how often one is drawn."""


@dataclass(frozen=True, eq=False)
class PictureSet(Dataset[tuple[Tensor, int]]):
    """One split of pictures, as float32 ``[3, crop, crop]``, normalized with the constants of ImageNet.

    Attributes:
        random: a random crop of a random size, and a mirror half the time, drawn from torch's own generator as
            torchvision's ``RandomResizedCrop`` and ``RandomHorizontalFlip`` do; else the middle.
        index: which pictures of ``pictures``, in order.
    """

    name: str
    pictures: Tree
    index: npt.NDArray[np.intp]
    crop: int
    resize: int
    random: bool = False

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        at = int(self.index[place])
        picture = self.pictures.picture(at)
        pixels = mirrored(cropped(picture, self.crop)) if self.random else centred(picture, self.resize, self.crop)
        return normalized(torch.from_numpy(pixels)), int(self.pictures.labels[at])

    @property
    def labels(self) -> Tensor:
        """The class of each, int64 ``[N]``."""
        return torch.from_numpy(self.pictures.labels[self.index])

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of one sample."""
        return 3, self.crop, self.crop

    @property
    def info(self) -> dict[str, Any]:
        """What travels with a trained network."""
        mean, std = IMAGENET
        return {
            "data": self.name, "mean": list(mean), "std": list(std), "classes": list(self.pictures.classes),
            "resize": self.resize,
        }  # fmt: skip

    def batch(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs and labels at ``index``."""
        samples = [self[int(i)] for i in index]
        return torch.stack([x for x, _ in samples]), torch.tensor([label for _, label in samples])


@dataclass(frozen=True, eq=False)
class PictureSplits:
    """A data set of pictures, split as :class:`dqt.train.data.Splits` are."""

    train: PictureSet
    valid: PictureSet | None
    test: PictureSet


def load_pictures(spec: str, *, valid: int = 0, crop: int, resize: int) -> PictureSplits:
    """Pictures that are read one by one.

    Args:
        spec: ``"imagefolder=PATH"``, folders ``train`` and ``val`` (or ``test``) of one folder for each class.
        valid: how many training pictures to hold out, stratified.
        crop, resize: pixels of what the network sees, and of the shorter side before the middle is taken.

    Raises:
        DataError: folders that are not there, or not of the same classes.
    """
    name, _, path = spec.partition("=")
    train, test = _folder(path)
    for missing in sorted(set(train.classes) ^ set(test.classes)):
        where = "test" if missing in train.classes else "training"
        raise DataError(
            f"{path}: class {missing!r} has no folder among the {where} pictures: both need the same classes"
        )
    kept, held = hold_out(train.labels, valid, spec)
    whole = PictureSet(name, train, kept, crop, resize, random=True)
    held_out = replace(whole, index=held, random=False) if valid else None
    return PictureSplits(whole, held_out, PictureSet(name, test, np.arange(len(test)), crop, resize))


def normalized(pixels: Tensor) -> Tensor:
    """``(pixels / 255 - mean) / std``, float32, for uint8 ``[3, H, W]``."""
    mean, std = (torch.tensor(each).view(-1, 1, 1) for each in IMAGENET)
    return (pixels.float() / 255 - mean) / std


def cropped(picture: Image.Image, size: int) -> Image.Image:
    """A random part of a picture, ``size`` x ``size``: the draws of torchvision's ``RandomResizedCrop``."""
    width, height = picture.size
    for _ in range(TRIES):
        area = width * height * torch.empty(1).uniform_(*AREA).item()
        ratio = math.exp(torch.empty(1).uniform_(*(math.log(each) for each in RATIO)).item())
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            top, left = (int(torch.randint(0, room + 1, (1,))) for room in (height - h, width - w))
            break
    else:  # the largest middle part of a legal ratio
        w = min(width, round(height * RATIO[1]))
        h = min(height, round(width / RATIO[0])) if width / height < RATIO[0] else height
        w = width if width / height < RATIO[0] else w
        top, left = (height - h) // 2, (width - w) // 2
    part = picture.crop((left, top, left + w, top + h))
    return part.resize((size, size), Image.Resampling.BILINEAR)


def mirrored(picture: Image.Image) -> npt.NDArray[np.uint8]:
    """The picture, or half the time its mirror image, uint8 ``[3, H, W]``."""
    pixels = planes_of(picture)
    return np.ascontiguousarray(pixels[:, :, ::-1]) if torch.rand(1) < 0.5 else pixels


def _folder(path: str) -> tuple[Tree, Tree]:
    root = Path(path).expanduser()
    train, test = (part_of(root, part) for part in PARTS)
    if train is None or test is None:
        raise DataError(f"{root}: need the folders train and val, each with one folder of pictures for each class")
    return tree(train), tree(test)
