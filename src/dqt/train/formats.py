"""Readers of official data set layouts. Each checks what it reads and names the file that is wrong."""

from __future__ import annotations

import gzip
import os
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

UInt8 = npt.NDArray[np.uint8]
Int64 = npt.NDArray[np.int64]

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CIFAR10_ROWS, CIFAR10_ROW = 10_000, 1 + 3 * 32 * 32
FASHION_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
IDX_UINT8 = 0x08
IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".ppm", ".pgm"}


class DataError(ValueError):
    """Data that cannot be read as what it is said to be; the message names the file and what was expected."""


@dataclass(frozen=True, eq=False)
class Arrays:
    """What a reader returns: uint8 ``[N, C, H, W]`` and int64 ``[N]``; the test part is None where a set has none."""

    images: UInt8
    labels: Int64
    classes: tuple[str, ...]
    test_images: UInt8 | None = None
    test_labels: Int64 | None = None


def digits() -> Arrays:
    """The 1,797 handwritten 8x8 digits of scikit-learn, 0..16 scaled to 0..255."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[:, None]
    return Arrays(images, bunch.target.astype(np.int64), tuple(str(d) for d in range(10)))


def cifar10(path: Path) -> Arrays:
    """The binary version: ``data_batch_1.bin`` .. ``5`` and ``test_batch.bin`` in ``path`` or its known subfolder."""
    folder = _find(path, ("", "cifar-10-batches-bin"), "data_batch_1.bin")
    parts = [_cifar10_batch(folder / f"data_batch_{i}.bin") for i in range(1, 6)]
    test_images, test_labels = _cifar10_batch(folder / "test_batch.bin")
    images, labels = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Arrays(images, labels, CIFAR10_CLASSES, test_images, test_labels)


def _cifar10_batch(path: Path) -> tuple[UInt8, Int64]:
    raw = _read(path)
    if len(raw) != CIFAR10_ROWS * CIFAR10_ROW:
        expected = CIFAR10_ROWS * CIFAR10_ROW
        raise DataError(f"{path}: {len(raw)} bytes, a CIFAR-10 batch has {expected}: the file is incomplete or another")
    rows = np.frombuffer(raw, np.uint8).reshape(CIFAR10_ROWS, CIFAR10_ROW)
    labels = rows[:, 0].astype(np.int64)
    _check_labels(labels, len(CIFAR10_CLASSES), path)
    return rows[:, 1:].reshape(-1, 3, 32, 32).copy(), labels


def fashion_mnist(path: Path) -> Arrays:
    """The four idx files, plain or ``.gz``, in ``path``, ``path/raw`` or ``path/FashionMNIST/raw``."""
    folder = _find(path, ("", "raw", "FashionMNIST/raw"), "train-images-idx3-ubyte")
    images, labels = _idx_pair(folder, "train")
    test_images, test_labels = _idx_pair(folder, "t10k")
    return Arrays(images, labels, FASHION_CLASSES, test_images, test_labels)


def _idx_pair(folder: Path, part: str) -> tuple[UInt8, Int64]:
    images = read_idx(folder / f"{part}-images-idx3-ubyte", 3)
    labels = read_idx(folder / f"{part}-labels-idx1-ubyte", 1).astype(np.int64)
    if len(images) != len(labels):
        raise DataError(
            f"{folder}: {len(images)} {part} images and {len(labels)} labels: the files do not belong together"
        )
    _check_labels(labels, len(FASHION_CLASSES), folder / f"{part}-labels-idx1-ubyte")
    return images[:, None], labels


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


def npz(path: Path) -> Arrays:
    """``x`` uint8 ``[N, C, H, W]`` or ``[N, H, W]`` and ``y`` ``[N]``; or the four ``x_train`` .. ``y_test``."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            held = {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, AttributeError, KeyError) as error:
        raise DataError(f"{path}: not a readable .npz file of plain arrays: {error}") from None
    if {"x_train", "y_train", "x_test", "y_test"} <= held.keys():
        train, test = (_npz_pair(path, held[f"x_{part}"], held[f"y_{part}"]) for part in ("train", "test"))
        if train[0].shape[1:] != test[0].shape[1:]:
            raise DataError(f"{path}: x_train and x_test hold images of different shapes")
        return Arrays(*train, _numbered(train[1], test[1]), *test)
    if {"x", "y"} <= held.keys():
        images, labels = _npz_pair(path, held["x"], held["y"])
        return Arrays(images, labels, _numbered(labels))
    raise DataError(f"{path}: holds {sorted(held)}; need x and y, or x_train, y_train, x_test and y_test")


def _npz_pair(path: Path, x: npt.NDArray[Any], y: npt.NDArray[Any]) -> tuple[UInt8, Int64]:
    if x.dtype != np.uint8 or x.ndim not in (3, 4) or 0 in x.shape:
        raise DataError(f"{path}: x is {x.dtype} {list(x.shape)}; need uint8 [N, C, H, W] or [N, H, W]")
    if y.shape != (len(x),) or not np.issubdtype(y.dtype, np.integer):
        raise DataError(f"{path}: y is {y.dtype} {list(y.shape)}; need integers [{len(x)}]")
    labels = y.astype(np.int64)
    _check_labels(labels, None, path)
    return (x if x.ndim == 4 else x[:, None]), labels


def folder(path: Path) -> Arrays:
    """``path/<class>/<image>``, or ``path/train/<class>/..`` and ``path/test/<class>/..``; images of one size."""
    if not path.is_dir():
        raise DataError(f"{path}: no such folder")
    if not ((path / "train").is_dir() and (path / "test").is_dir()):
        return Arrays(*_read_folder(path, _class_names(path)), _class_names(path))
    classes = _class_names(path / "train")
    if _class_names(path / "test") != classes:
        raise DataError(f"{path}: train and test have different class folders")
    train, test = _read_folder(path / "train", classes), _read_folder(path / "test", classes)
    if train[0].shape[1:] != test[0].shape[1:]:
        raise DataError(f"{path}: train and test images have different sizes")
    return Arrays(*train, classes, *test)


def _class_names(path: Path) -> tuple[str, ...]:
    names = tuple(sorted(entry.name for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith(".")))
    if len(names) < 2:
        raise DataError(
            f"{path}: {len(names)} class folders; need one folder of images for each of two or more classes"
        )
    return names


def _read_folder(path: Path, classes: tuple[str, ...]) -> tuple[UInt8, Int64]:
    images: list[UInt8] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        files = sorted(f for f in (path / name).iterdir() if f.suffix.lower() in IMAGE_SUFFIXES)
        if not files:
            raise DataError(f"{path / name}: no images ({', '.join(sorted(IMAGE_SUFFIXES))})")
        for file in files:
            images.append(read_image(file, like=images[0].shape if images else None))
            labels.append(label)
    return np.stack(images), np.array(labels, np.int64)


def read_image(path: str | os.PathLike[str], like: tuple[int, ...] | None = None) -> UInt8:
    """One image file as uint8 ``[C, H, W]``, C = 1 for greyscale files and 3 otherwise.

    Args:
        like: a shape to match: its channel count converts the image, another size is an error.

    Raises:
        DataError: not an image, or not of the size of ``like``.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            grey = image.mode in ("1", "L", "I", "I;16", "F") if like is None else like[0] == 1
            pixels = np.asarray(image.convert("L" if grey else "RGB"))
    except (OSError, UnidentifiedImageError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: not a readable image: {error}") from None
    array = np.ascontiguousarray(pixels[None] if grey else pixels.transpose(2, 0, 1))
    if like is not None and array.shape != tuple(like):
        size, wanted = f"{array.shape[2]}x{array.shape[1]}", f"{like[2]}x{like[1]}"
        raise DataError(f"{path}: {size} pixels where {wanted} is needed; resize the images to one size")
    return array


def _numbered(*labels: Int64) -> tuple[str, ...]:
    return tuple(str(i) for i in range(max(int(part.max()) for part in labels) + 1))


def _check_labels(labels: Int64, classes: int | None, path: Path) -> None:
    last = "" if classes is None else f"..{classes - 1}"
    wrong = labels < 0 if classes is None else (labels < 0) | (labels >= classes)
    if wrong.any():
        where = int(np.argmax(wrong))
        raise DataError(f"{path}: label {int(labels[where])} of sample {where} is outside 0{last}")


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
        raise DataError(f"{path}: cannot be read: {error}") from None
