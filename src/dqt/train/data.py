"""Image sets in memory: one split as a frozen value, its normalization, its augmentation, and ``load``.

Images are uint8 ``[N, C, H, W]``; a network sees ``(image / 255 - mean) / std`` in float32.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from dqt.data.arrays import Part
from dqt.data.errors import DataError
from dqt.data.formats import Arrays
from dqt.data.sets import hold_out, read, strata
from dqt.data.sets import split as split_parts
from dqt.train.seeds import generator

__all__ = ["Augment", "DataError", "DataSet", "Splits", "load"]

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True)
class Augment:
    """What training does to an image: a shift by up to ``pad`` pixels (black comes in), a mirror half the time."""

    pad: int = 0
    flip: bool = False


@dataclass(frozen=True, eq=False)
class DataSet:
    """One split.

    Attributes:
        name: of the set, such as ``"cifar10"``.
        images: uint8 ``[N, C, H, W]``.   labels: int64 ``[N]`` in ``[0, len(classes) - 1]``, or any targets.
        mean, std: per channel, of pixels in [0, 1].
    """

    name: str
    images: Tensor
    labels: Tensor
    mean: tuple[float, ...]
    std: tuple[float, ...]
    classes: tuple[str, ...]
    augment: Augment = Augment()

    def __len__(self) -> int:
        return int(self.images.shape[0])

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one image, (C, H, W)."""
        c, h, w = self.images.shape[1:]
        return int(c), int(h), int(w)

    @property
    def info(self) -> dict[str, Any]:
        """What travels with a trained network: mean, std, classes and the name of the set, plain JSON values."""
        classes = {"classes": list(self.classes)} if self.classes else {}
        return {"data": self.name, "mean": list(self.mean), "std": list(self.std), **classes}

    def take(self, index: Tensor | slice) -> DataSet:
        """The samples at ``index``, in that order."""
        return replace(self, images=self.images[index], labels=self.labels[index])

    def to(self, device: torch.device) -> DataSet:
        """The same split on ``device``."""
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))

    def normalize(self, images: Tensor) -> Tensor:
        """``(images / 255 - mean) / std``, float32, for uint8 ``[N, C, H, W]``."""
        mean = torch.tensor(self.mean, device=images.device).view(1, -1, 1, 1)
        std = torch.tensor(self.std, device=images.device).view(1, -1, 1, 1)
        return (images.float() / 255 - mean) / std

    def inputs(self, index: Tensor | slice = slice(None)) -> Tensor:
        """Network inputs of the samples at ``index`` (all by default), float32 ``[N, C, H, W]``."""
        return self.normalize(self.images[index])

    def batch(self, index: Tensor, *seed: int | str) -> tuple[Tensor, Tensor]:
        """Inputs and labels at ``index``; with ``seed`` parts, augmented with a generator derived from them."""
        images = self.images[index]
        if seed:
            images = augmented(images, self.augment, generator(*seed))
        return self.normalize(images), self.labels[index]


@dataclass(frozen=True, eq=False)
class Splits:
    """A data set: ``train``, ``valid`` (held out of the training part; None where nothing was) and ``test``."""

    train: DataSet
    valid: DataSet | None
    test: DataSet


def augmented(images: Tensor, augment: Augment, rng: torch.Generator) -> Tensor:
    """Shift and mirror each image of a batch by its own draw. uint8 ``[N, C, H, W]`` in and out."""
    n, c, h, w = images.shape
    offsets = torch.randint(0, 2 * augment.pad + 1, (2, n, 1), generator=rng)
    mirrored = torch.randint(0, 2, (n, 1), generator=rng) * int(augment.flip)
    rows = offsets[0] + torch.arange(h)
    forward = torch.arange(w)
    columns = offsets[1] + torch.where(mirrored.bool(), forward.flip(0), forward)
    if augment == Augment():
        return images
    padded = F.pad(images, (augment.pad,) * 4)
    sample = torch.arange(n)[:, None, None, None]
    channel = torch.arange(c)[None, :, None, None]
    at = (sample, channel, rows[:, None, :, None], columns[:, None, None, :])
    return padded[tuple(index.to(images.device) for index in at)]


@dataclass(frozen=True, eq=False)
class ArraySet:
    """One split of arrays that are what the model takes: float32 or int64 ``[N, ...]``, with targets ``[N, ...]``."""

    name: str
    x: Tensor
    labels: Tensor
    classes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.x)

    @property
    def shape(self) -> Any:
        """Of one sample, as :func:`dqt.train.build.example` takes it."""
        shape = [int(size) for size in self.x.shape[1:]]
        return shape if self.x.is_floating_point() else {"input": {"shape": shape, "kind": "integer"}}

    @property
    def info(self) -> dict[str, Any]:
        """What travels with a trained network: the name of the set, and its classes."""
        return {"data": self.name, **({"classes": list(self.classes)} if self.classes else {})}

    def take(self, index: Tensor | slice) -> ArraySet:
        """The samples at ``index``, in that order."""
        return replace(self, x=self.x[index], labels=self.labels[index])

    def inputs(self, index: Tensor | slice = slice(None)) -> Tensor:
        """Network inputs of the samples at ``index`` (all by default)."""
        return self.x[index]

    def batch(self, index: Tensor, *seed: int | str) -> tuple[Tensor, Tensor]:
        """Inputs and targets at ``index``; nothing is augmented."""
        return self.x[index], self.labels[index]


@dataclass(frozen=True, eq=False)
class ArraySplits:
    """A data set of arrays, split as :class:`Splits` are."""

    train: ArraySet
    valid: ArraySet | None
    test: ArraySet


def load(spec: str, *, valid: int = 0, augment: Augment | None = None, classes: bool = True) -> Splits:
    """Read a set of images.

    Args:
        spec: ``"digits"`` (scikit-learn's, 80/20 split) or ``"cifar10=PATH"``, ``"fashion-mnist=PATH"`` (the official
            files), ``"npz=FILE"`` (uint8 images x and labels y, or x_train, y_train, x_test, y_test: see
            :func:`dqt.data.arrays.read_parts`), ``"folder=PATH"`` (one folder of images per class, or ``train`` and
            ``test`` folders of these). Sets without a test part give up a stratified fifth.
        valid: how many training samples to hold out, stratified; the same ones in every run.
        augment: replaces the set's own augmentation.
        classes: whether the labels are a class for each sample. Otherwise ``npz=FILE`` alone serves, with the targets
            of any task in y.

    Raises:
        DataError: an unknown set, a file that is missing, of the wrong size or truncated, or too few samples.
    """
    return _split_images(spec, read(spec, classes=classes), valid, augment)


def load_any(
    spec: str, *, valid: int = 0, augment: Augment | None = None, classes: bool = True
) -> Splits | ArraySplits:
    """A set of images, as :func:`load`; or of other numbers, which are what the model takes, from ``npz=FILE``.

    Raises:
        DataError: see :func:`load`.
    """
    arrays = read(spec, classes=classes)
    if any(part is not None and part.x.dtype == np.uint8 for part in (arrays.train, arrays.test)):
        return _split_images(spec, arrays, valid, augment)
    train, test = split_parts(arrays)
    kept, held = hold_out(strata(arrays, train), valid, spec)
    whole = _array_set("npz", train, arrays.classes)
    held_out = whole.take(torch.from_numpy(held)) if valid else None
    return ArraySplits(whole.take(torch.from_numpy(kept)), held_out, _array_set("npz", test, arrays.classes))


def _split_images(spec: str, arrays: Arrays, valid: int, augment: Augment | None) -> Splits:
    name, _, path = spec.partition("=")
    if not arrays.classes and augment not in (None, Augment()):
        raise DataError(f"data {spec!r}: pad and flip move images and not their targets: leave them out")
    train_part, test_part = split_parts(
        replace(arrays, train=_images(arrays.train, path), test=_images(arrays.test, path))
    )
    train_index, valid_index = hold_out(strata(arrays, train_part), valid, spec)
    chosen = SETS[name]
    mean, std = chosen.statistics or _statistics(train_part.x[train_index])

    def split(part: Part) -> DataSet:
        pixels, targets = torch.from_numpy(part.x).contiguous(), torch.from_numpy(part.labels)
        return DataSet(name, pixels, targets, mean, std, arrays.classes, chosen.augment if augment is None else augment)

    train = split(train_part)
    held_out = train.take(torch.from_numpy(valid_index)) if valid else None
    return Splits(train.take(torch.from_numpy(train_index)) if valid else train, held_out, split(test_part))


def _array_set(name: str, part: Part, classes: tuple[str, ...]) -> ArraySet:
    kind = np.float32 if part.x.dtype.kind == "f" else np.int64
    return ArraySet(name, torch.from_numpy(part.x.astype(kind)), torch.from_numpy(part.labels), classes)


@dataclass(frozen=True)
class _Set:
    statistics: tuple[tuple[float, ...], tuple[float, ...]] | None
    augment: Augment


SETS = {
    "digits": _Set(((0.3053,), (0.3760,)), Augment(pad=1)),
    "cifar10": _Set(IMAGENET, Augment(pad=4, flip=True)),
    "fashion-mnist": _Set(((0.2860,), (0.3530,)), Augment(pad=2, flip=True)),
    "npz": _Set(None, Augment()),
    "folder": _Set(None, Augment()),
}
"""Every set: its mean and std (None: of its training images), and its augmentation. CIFAR-10 takes the ImageNet
constants, which the public CIFAR ResNets were trained with."""


def _images(part: Part | None, path: str) -> Part | None:
    """``part`` with images ``[N, C, H, W]``, also from ``[N, H, W]``, and from ``[N, H, W, C]`` with 1 or 3 channels.

    Raises:
        DataError: no uint8 images.
    """
    if part is None:
        return None
    x = part.x
    if x.dtype != np.uint8 or x.ndim not in (3, 4):
        raise DataError(
            f"{path}: x is {x.dtype} {list(x.shape)}; need uint8 [N, C, H, W], [N, H, W, C] or [N, H, W]; to train on "
            "other data, call dqt.fit, which takes tensors"
        )
    if x.ndim == 3:
        return replace(part, x=x[:, None])
    last = x.shape[3] in (1, 3) and x.shape[1] not in (1, 3)
    return replace(part, x=np.ascontiguousarray(np.moveaxis(x, -1, 1))) if last else part


def _statistics(images: npt.NDArray[np.uint8]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    pixels = images.astype(np.float64).transpose(1, 0, 2, 3).reshape(images.shape[1], -1) / 255
    std = np.maximum(pixels.std(axis=1), 1 / 255)
    return tuple(round(float(v), 4) for v in pixels.mean(axis=1)), tuple(round(float(v), 4) for v in std)
