"""Readers of official data set layouts. Each checks what it reads and names the file that is wrong."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dqt.data.arrays import TEST, TRAIN, WHOLE, Part, check_labels, read_parts
from dqt.data.errors import DataError, reason
from dqt.data.images import IMAGE_SUFFIXES, UInt8, files_in, read_image, with_channels

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CIFAR10_ROWS, CIFAR10_ROW = 10_000, 1 + 3 * 32 * 32
FASHION_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
IDX_UINT8 = 0x08


@dataclass(frozen=True, eq=False)
class Arrays:
    """What a reader returns.

    Attributes:
        classes: names, or numbers as text, of the labels from 0; none where the labels are no classes.
        train: None where an .npz file has samples for test alone.
        test: None where a set has no test part.

    Images of every set but ``npz`` are uint8 ``[N, C, H, W]``; an ``npz`` file's samples are as the file has them.
    """

    classes: tuple[str, ...]
    train: Part | None
    test: Part | None = None


def digits() -> Arrays:
    """The 1,797 handwritten 8x8 digits of scikit-learn, 0..16 scaled to 0..255."""
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            'the digits data needs scikit-learn, which is not installed: pip install "dqt[train]"', name=error.name
        ) from error

    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[:, None]
    return Arrays(tuple(str(d) for d in range(10)), Part(images, bunch.target.astype(np.int64)))


def cifar10(path: Path) -> Arrays:
    """The binary version: ``data_batch_1.bin`` .. ``5`` and ``test_batch.bin`` in ``path`` or its known subfolder."""
    folder = _find(path, ("", "cifar-10-batches-bin"), "data_batch_1.bin")
    parts = [_cifar10_batch(folder / f"data_batch_{i}.bin") for i in range(1, 6)]
    train = Part(np.concatenate([part.x for part in parts]), np.concatenate([part.labels for part in parts]))
    return Arrays(CIFAR10_CLASSES, train, _cifar10_batch(folder / "test_batch.bin"))


def _cifar10_batch(path: Path) -> Part:
    raw = _read(path)
    if len(raw) != CIFAR10_ROWS * CIFAR10_ROW:
        expected = CIFAR10_ROWS * CIFAR10_ROW
        raise DataError(f"{path}: {len(raw)} bytes, a CIFAR-10 batch has {expected}: the file is incomplete or another")
    rows = np.frombuffer(raw, np.uint8).reshape(CIFAR10_ROWS, CIFAR10_ROW)
    labels = rows[:, 0].astype(np.int64)
    check_labels(labels, len(CIFAR10_CLASSES), path)
    return Part(rows[:, 1:].reshape(-1, 3, 32, 32).copy(), labels)


def fashion_mnist(path: Path) -> Arrays:
    """The four idx files, plain or ``.gz``, in ``path``, ``path/raw`` or ``path/FashionMNIST/raw``."""
    folder = _find(path, ("", "raw", "FashionMNIST/raw"), "train-images-idx3-ubyte")
    return Arrays(FASHION_CLASSES, _idx_pair(folder, "train"), _idx_pair(folder, "t10k"))


def _idx_pair(folder: Path, part: str) -> Part:
    images = read_idx(folder / f"{part}-images-idx3-ubyte", 3)
    labels = read_idx(folder / f"{part}-labels-idx1-ubyte", 1).astype(np.int64)
    if len(images) != len(labels):
        raise DataError(
            f"{folder}: {len(images)} {part} images and {len(labels)} labels: the files do not belong together"
        )
    check_labels(labels, len(FASHION_CLASSES), folder / f"{part}-labels-idx1-ubyte")
    return Part(images[:, None], labels)


def read_idx(path: Path, dims: int) -> UInt8:
    """An idx file of unsigned bytes with ``dims`` dimensions; ``path`` or ``path.gz``.

    Raises:
        DataError: another magic number, or a length that is not the header's.
    """
    raw = _read(path if path.exists() else path.with_name(path.name + ".gz"))
    header = 4 + 4 * dims
    if len(raw) < header or raw[:4] != bytes((0, 0, IDX_UINT8, dims)):
        raise DataError(f"{path}: not an idx file of bytes with {dims} dimensions")
    shape = struct.unpack(f">{dims}I", raw[4:header])
    expected = header + int(np.prod(shape, dtype=object))
    if len(raw) != expected:
        raise DataError(f"{path}: {len(raw)} bytes, its header says {expected}: the file is truncated or damaged")
    return np.frombuffer(raw, np.uint8, offset=header).reshape(shape).copy()


def npz(path: Path, *, classes: bool = True) -> Arrays:
    """Samples and labels by their names: see :func:`dqt.data.arrays.read_parts`."""
    parts = read_parts(path, classes=classes)
    train, test = parts.get(TRAIN, parts.get(WHOLE)), parts.get(TEST)
    if train is not None and test is not None and train.x.shape[1:] != test.x.shape[1:]:
        shapes = " and ".join(str(list(part.x.shape[1:])) for part in (train, test))
        raise DataError(f"{path}: samples of different shapes for training and test, {shapes}")
    if not classes:
        return Arrays((), train, test)
    count = max(int(part.labels.max()) for part in parts.values()) + 1
    return Arrays(tuple(str(i) for i in range(count)), train, test)


def folder(path: Path, like: Sequence[int] | None = None) -> Arrays:
    """``path/<class>/<image>``, or ``path/train/<class>/..`` and ``path/test/<class>/..``; images of one size.

    One of ``train`` and ``test`` may be there alone.

    ``like``: the shape ``[C, H, W]`` that they must get; by default that of the first image, in colour if any is.
    """
    if not path.is_dir():
        raise DataError(f"{path}: no such folder")
    if not ((path / "train").is_dir() and (path / "test").is_dir()):
        alone = next((part for part in (TRAIN, TEST) if _folders(path) == (part,)), WHOLE)
        classes = _class_names(path / alone)
        (one,) = _read_folders([path / alone], classes, like)
        return Arrays(classes, None, one) if alone == TEST else Arrays(classes, one)
    classes = _class_names(path / "train")
    if _class_names(path / "test") != classes:
        raise DataError(f"{path}: train and test have different class folders")
    train, test = _read_folders([path / "train", path / "test"], classes, like)
    return Arrays(classes, train, test)


def _folders(path: Path) -> tuple[str, ...]:
    return tuple(sorted(entry.name for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith(".")))


def _class_names(path: Path) -> tuple[str, ...]:
    names = _folders(path)
    if len(names) < 2:
        held = f"one class folder, {names[0]}" if names else "no class folders"
        raise DataError(f"{path}: {held}; need one folder of images for each of two or more classes")
    return names


def _read_folders(paths: list[Path], classes: tuple[str, ...], like: Sequence[int] | None) -> list[Part]:
    """The images of every folder, of one size, with the channels of ``like``, or in colour if any of them is."""
    parts: list[list[UInt8]] = [[] for _ in paths]
    labels: list[list[int]] = [[] for _ in paths]
    for path, images, numbers in zip(paths, parts, labels, strict=True):
        for label, name in enumerate(classes):
            for file in _images_in(path / name):
                images.append(read_image(file, like))
                numbers.append(label)
                like = like or (0, *images[0].shape[1:])  # the first image of all gives the size
    channels = max(len(image) for images in parts for image in images)
    return [
        Part(np.stack([with_channels(image, channels) for image in images]), np.array(numbers, np.int64))
        for images, numbers in zip(parts, labels, strict=True)
    ]


def _images_in(path: Path) -> list[Path]:
    files = files_in(path, IMAGE_SUFFIXES)
    if not files:
        raise DataError(f"{path}: no images ({', '.join(sorted(IMAGE_SUFFIXES))})")
    return files


def _find(path: Path, below: tuple[str, ...], file: str) -> Path:
    for part in below:
        if (path / part / file).exists() or (path / part / f"{file}.gz").exists():
            return path / part
    looked = ", ".join(str(path / part) for part in below)
    raise DataError(f"{file} not found; looked in {looked}")


def _read(path: Path) -> bytes:
    try:
        raw = path.read_bytes()
        return gzip.decompress(raw) if path.suffix == ".gz" else raw
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read: {reason(error)}") from None
