"""Image sets in memory: one split as a frozen value, its normalization, its augmentation, and ``load``.

Images are uint8 ``[N, C, H, W]``; a network sees ``(image / 255 - mean) / std`` in float32.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from dqt.train import formats
from dqt.train.formats import Arrays, DataError
from dqt.train.seeds import generator

__all__ = ["Augment", "DataError", "DataSet", "Splits", "load"]

TEST_SHARE = 0.2
SPLIT_SEED = 20250817
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
        images: uint8 ``[N, C, H, W]``.   labels: int64 ``[N]`` in ``[0, len(classes) - 1]``.
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
        return {
            "data": self.name,
            "mean": list(self.mean),
            "std": list(self.std),
            "classes": list(self.classes),
        }

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


def load(spec: str, *, valid: int = 0, augment: Augment | None = None) -> Splits:
    """Read a data set.

    Args:
        spec: ``"digits"`` (scikit-learn's, 80/20 split) or ``"cifar10=PATH"``, ``"fashion-mnist=PATH"`` (the official
            files), ``"npz=FILE"`` (arrays x and y, or x_train, y_train, x_test, y_test), ``"folder=PATH"`` (one folder
            of images per class, or ``train`` and ``test`` folders of these). Sets without a test part give up a
            stratified fifth.
        valid: how many training samples to hold out, stratified; the same ones in every run.
        augment: replaces the set's own augmentation.

    Raises:
        DataError: an unknown set, a file that is missing, of the wrong size or truncated, or too few samples.
    """
    name, _, path = spec.partition("=")
    if name not in SETS:
        raise DataError(f"data {spec!r}: unknown set {name!r}; known: {', '.join(SETS)} (such as cifar10=PATH)")
    if (name == "digits") == bool(path):
        raise DataError(f"data {spec!r}: " + ("digits takes no path" if path else f"needs a path: {name}=PATH"))
    reader = SETS[name]
    arrays = reader.read(Path(path).expanduser())
    parts = arrays if arrays.test_images is not None else _with_test_part(arrays)
    train_index, valid_index = _hold_out(parts.labels, valid, spec)
    mean, std = reader.statistics or _statistics(parts.images[train_index])
    chosen = reader.augment if augment is None else augment

    def split(images: Any, labels: Any) -> DataSet:
        pixels, targets = torch.from_numpy(images).contiguous(), torch.from_numpy(labels.astype(np.int64))
        return DataSet(name, pixels, targets, mean, std, parts.classes, chosen)

    train = split(parts.images, parts.labels)
    held_out = train.take(torch.from_numpy(valid_index)) if valid else None
    test = split(parts.test_images, parts.test_labels)
    return Splits(train.take(torch.from_numpy(train_index)) if valid else train, held_out, test)


@dataclass(frozen=True)
class _Set:
    read: Callable[[Path], Arrays]
    statistics: tuple[tuple[float, ...], tuple[float, ...]] | None
    augment: Augment


SETS = {
    "digits": _Set(lambda _: formats.digits(), ((0.3053,), (0.3760,)), Augment(pad=1)),
    "cifar10": _Set(formats.cifar10, IMAGENET, Augment(pad=4, flip=True)),
    "fashion-mnist": _Set(formats.fashion_mnist, ((0.2860,), (0.3530,)), Augment(pad=2, flip=True)),
    "npz": _Set(formats.npz, None, Augment()),
    "folder": _Set(formats.folder, None, Augment()),
}
"""Every set: its reader, mean and std (None: of its training images), and its augmentation. CIFAR-10 takes the
ImageNet constants, which the public CIFAR ResNets were trained with."""


def _statistics(images: npt.NDArray[np.uint8]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    pixels = images.astype(np.float64).transpose(1, 0, 2, 3).reshape(images.shape[1], -1) / 255
    std = np.maximum(pixels.std(axis=1), 1 / 255)
    return tuple(round(float(v), 4) for v in pixels.mean(axis=1)), tuple(round(float(v), 4) for v in std)


def _with_test_part(arrays: Arrays) -> Arrays:
    count = round(len(arrays.labels) * TEST_SHARE)
    train, test = _hold_out(arrays.labels, count, "the test part")
    return Arrays(arrays.images[train], arrays.labels[train], arrays.classes, arrays.images[test], arrays.labels[test])


def _hold_out(labels: npt.NDArray[np.int64], count: int, what: str) -> tuple[Any, Any]:
    """Indices (kept, held out), ``count`` of the latter, stratified by label, always the same."""
    from sklearn.model_selection import train_test_split

    if count == 0:
        return np.arange(len(labels)), np.arange(0)
    try:
        kept, held = train_test_split(np.arange(len(labels)), test_size=count, random_state=SPLIT_SEED, stratify=labels)
    except ValueError as error:
        raise DataError(f"data {what}: cannot hold out {count} of {len(labels)} samples: {error}") from None
    return np.sort(kept), np.sort(held)
