"""Data sets by name: what ``"cifar10=PATH"`` reads, and how a set without a test part is split, always the same way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dqt.data import formats
from dqt.data.arrays import Int64, Part
from dqt.data.errors import DataError
from dqt.data.formats import Arrays

TEST_SHARE = 0.2
SPLIT_SEED = 20250817
READERS: dict[str, Callable[[Path, Sequence[int] | None, bool], Arrays]] = {
    "digits": lambda _, __, ___: formats.digits(),
    "cifar10": lambda path, _, __: formats.cifar10(path),
    "fashion-mnist": lambda path, _, __: formats.fashion_mnist(path),
    "npz": lambda path, _, classes: formats.npz(path, classes=classes),
    "folder": lambda path, like, _: formats.folder(path, like),
}
OWN = ("npz", "folder")
"""Sets of the user's own, whose one part may be either: training data or test data."""


def read(spec: str, like: Sequence[int] | None = None, *, classes: bool = True) -> Arrays:
    """The set that ``spec`` names, as its files have it.

    Args:
        spec: ``"digits"``, or ``"cifar10=PATH"``, ``"fashion-mnist=PATH"``, ``"npz=FILE"``, ``"folder=PATH"``.
        like: the shape ``[C, H, W]`` that images of a folder must get; by default that of the first, in colour if any
            image is.
        classes: whether the labels are a class for each sample; False: any targets, which only ``npz`` has.

    Raises:
        DataError: an unknown set; a file that is missing, of the wrong size or damaged. ModuleNotFoundError: digits
            without scikit-learn.
    """
    name, _, path = spec.partition("=")
    if name not in READERS:
        meant = "" if not spec else "folder" if Path(spec).is_dir() else "npz" if Path(spec).is_file() else ""
        advice = f"did you mean {meant}={spec}?" if meant else f"known: {', '.join(READERS)} (such as cifar10=PATH)"
        raise DataError(f"data {spec!r}: unknown set {name!r}; {advice}")
    if (name == "digits") == bool(path):
        raise DataError(f"data {spec!r}: " + ("digits takes no path" if path else f"needs a path: {name}=PATH"))
    if not classes and name != "npz":
        raise DataError(f"data {spec!r}: has a class for each sample; targets of another task come from npz=FILE")
    return READERS[name](Path(path).expanduser(), like, classes)


def split(arrays: Arrays) -> tuple[Part, Part]:
    """The training and the test part; a set without a test part gives up a stratified fifth for it.

    Raises:
        DataError: there is no training part, or a class has too few samples.
    """
    if arrays.train is None:
        raise DataError("the data has samples for test alone: training needs x and y, or x_train and y_train")
    if arrays.test is not None:
        return arrays.train, arrays.test
    count = round(len(arrays.train.labels) * TEST_SHARE)
    train, test = hold_out(strata(arrays, arrays.train), count, "the test part")
    return arrays.train.take(train), arrays.train.take(test)


def strata(arrays: Arrays, part: Part) -> Int64:
    """By what a split is stratified: the classes, or nothing."""
    return part.labels if arrays.classes else np.zeros(len(part.labels), dtype=np.int64)


def hold_out(labels: Int64, count: int, what: str) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Indices (kept, held out), ``count`` of the latter, stratified by label, always the same.

    The draw is that of scikit-learn's ``train_test_split`` with ``SPLIT_SEED``, index for index.

    Raises:
        DataError: a class of one sample, or fewer kept or held-out samples than classes.
    """
    if count == 0:
        return np.arange(len(labels)), np.arange(0)
    _, which, counts = np.unique(labels, return_inverse=True, return_counts=True)
    total, kinds = len(labels), len(counts)
    reason = ""
    if not 0 < count < total:
        reason = f"between 1 and {total - 1} can be"
    elif counts.min() < 2:
        reason = "a class has one sample alone"
    elif min(count, total - count) < kinds:
        reason = f"{kinds} classes need at least one sample on each side"
    if reason:
        raise DataError(f"data {what}: cannot hold out {count} of {total} samples: {reason}")
    rng = np.random.RandomState(SPLIT_SEED)
    kept_counts = _apportioned(counts, total - count, rng)
    held_counts = _apportioned(counts - kept_counts, count, rng)
    kept, held = [], []
    for kind, (keep, hold) in enumerate(zip(kept_counts, held_counts, strict=True)):
        order = np.flatnonzero(which.ravel() == kind)[rng.permutation(counts[kind])]
        kept.append(order[:keep])
        held.append(order[keep : keep + hold])
    return np.sort(np.concatenate(kept)), np.sort(np.concatenate(held))


def _apportioned(counts: npt.NDArray[np.intp], draws: int, rng: np.random.RandomState) -> npt.NDArray[np.intp]:
    """``draws`` shared in proportion to ``counts``; the rest goes to the largest remainders, ties at random."""
    shares = counts / counts.sum() * draws
    given = np.floor(shares)
    need = int(draws - given.sum())
    remainder = shares - given
    for value in np.sort(np.unique(remainder))[::-1] if need > 0 else ():
        (tied,) = np.where(remainder == value)
        chosen = rng.choice(tied, size=min(len(tied), need), replace=False)
        given[chosen] += 1
        need -= len(chosen)
        if need == 0:
            break
    return given.astype(np.intp)
