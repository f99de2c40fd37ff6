"""Readers of official layouts, splits that never change, augmentation that depends on its place alone."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from dqt.data import formats
from dqt.train.data import Augment, DataError, DataSet, augmented, load
from dqt.train.seeds import derive, generator, gumbel


@pytest.fixture
def small_cifar(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The CIFAR-10 layout with 20 images a file."""
    monkeypatch.setattr(formats, "CIFAR10_ROWS", 20)
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]:
        rows = rng.integers(0, 256, (20, formats.CIFAR10_ROW), dtype=np.uint8)
        rows[:, 0] = np.arange(20) % 10
        (folder / name).write_bytes(rows.tobytes())
    return folder


def write_idx(path: Path, array: np.ndarray[Any, Any]) -> None:
    header = struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    data = header + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def fashion(folder: Path, suffix: str = "") -> None:
    for part, count in (("train", 40), ("t10k", 10)):
        write_idx(folder / f"{part}-images-idx3-ubyte{suffix}", np.arange(count * 784).reshape(count, 28, 28) % 251)
        write_idx(folder / f"{part}-labels-idx1-ubyte{suffix}", np.arange(count) % 10)


def test_digits_are_split_80_20_the_same_way_every_time() -> None:
    first, second = load("digits"), load("digits")
    assert (len(first.train), len(first.test), first.valid) == (1438, 359, None)
    assert torch.equal(first.train.images, second.train.images)
    counts = torch.bincount(first.test.labels)
    assert int(counts.min()) >= 34  # stratified: every class has its fifth of about 180
    assert first.train.shape == (1, 8, 8)
    assert first.train.inputs(slice(0, 3)).dtype == torch.float32
    assert first.train.info["classes"] == [str(d) for d in range(10)]


def test_a_held_out_part_leaves_training_and_is_always_the_same() -> None:
    plain, held = load("digits"), load("digits", valid=200)
    assert held.valid is not None
    assert (len(held.train), len(held.valid)) == (1238, 200)
    again = load("digits", valid=200).valid
    assert again is not None
    assert torch.equal(held.valid.images, again.images)
    assert torch.equal(plain.test.images, held.test.images)


def test_cifar10_is_read_plane_by_plane(small_cifar: Path) -> None:
    splits = load(f"cifar10={small_cifar.parent}", valid=10)
    assert (len(splits.train), len(splits.test)) == (90, 20)
    raw = np.frombuffer((small_cifar / "test_batch.bin").read_bytes(), np.uint8).reshape(20, -1)
    assert splits.test.images[3, 1, 0, 5] == raw[3, 1 + 1024 + 5]
    assert splits.test.mean == (0.485, 0.456, 0.406)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_fashion_mnist_plain_and_compressed(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "FashionMNIST" / "raw").mkdir(parents=True)
    fashion(tmp_path / "FashionMNIST" / "raw", suffix)
    splits = load(f"fashion-mnist={tmp_path}")
    assert splits.train.images.shape == (40, 1, 28, 28)
    assert int(splits.train.images[1, 0, 0, 3]) == (784 + 3) % 251
    assert splits.test.classes[9] == "Ankle boot"


def test_npz_with_and_without_a_test_part(tmp_path: Path) -> None:
    x, y = np.zeros((50, 6, 6), np.uint8), np.arange(50) % 5
    np.savez(tmp_path / "one.npz", x=x, y=y)
    np.savez(tmp_path / "two.npz", x_train=x, y_train=y, x_test=x[:9], y_test=y[:9])
    one, two = load(f"npz={tmp_path / 'one.npz'}"), load(f"npz={tmp_path / 'two.npz'}")
    assert (len(one.train), len(one.test), len(two.train), len(two.test)) == (40, 10, 50, 9)
    assert one.train.classes == ("0", "1", "2", "3", "4")
    assert one.train.inputs().isfinite().all()  # a constant image has no spread to divide by


def image_folder(root: Path, size: tuple[int, int] = (5, 4), count: int = 5) -> None:
    for label, name in enumerate(("cat", "dog")):
        (root / name).mkdir(parents=True)
        for i in range(count):
            Image.new("RGB", size, (40 * i, 100 * label, 7)).save(root / name / f"{i}.png")


def test_a_folder_of_class_folders(tmp_path: Path) -> None:
    image_folder(tmp_path / "all")
    splits = load(f"folder={tmp_path / 'all'}")
    assert splits.train.images.shape == (8, 3, 4, 5)
    assert splits.train.classes == ("cat", "dog")
    image_folder(tmp_path / "two" / "train")
    image_folder(tmp_path / "two" / "test", count=2)
    assert len(load(f"folder={tmp_path / 'two'}").test) == 4


def bad_npz(tmp_path: Path, **arrays: Any) -> str:
    np.savez(tmp_path / "bad.npz", **arrays)
    return f"npz={tmp_path / 'bad.npz'}"


def test_what_is_wrong_with_data_is_said(tmp_path: Path, small_cifar: Path) -> None:
    images, labels = np.zeros((4, 2, 2), np.uint8), np.arange(4)
    (small_cifar / "data_batch_3.bin").write_bytes(b"\0" * 100)
    fashion(tmp_path)
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes((tmp_path / "t10k-images-idx3-ubyte").read_bytes()[:-1])
    (tmp_path / "text.npz").write_text("no archive")
    image_folder(tmp_path / "images")
    Image.new("RGB", (9, 9)).save(tmp_path / "images" / "dog" / "z.png")
    image_folder(tmp_path / "broken")
    (tmp_path / "broken" / "cat" / "0.png").write_bytes(b"not a png")
    cases = [
        ("mnist", "unknown set 'mnist'; known: digits, cifar10"),
        ("cifar10", "needs a path: cifar10=PATH"),
        ("digits=/x", "digits takes no path"),
        (f"cifar10={small_cifar}", r"data_batch_3.bin: 100 bytes, a CIFAR-10 batch has 61460"),
        (f"cifar10={tmp_path / 'no'}", "data_batch_1.bin not found; looked in"),
        (f"fashion-mnist={tmp_path}", "t10k-images-idx3-ubyte: 7855 bytes, its header says 7856"),
        (f"npz={tmp_path / 'none.npz'}", "no such file"),
        (f"npz={tmp_path / 'text.npz'}", "text.npz: not a readable file"),
        (bad_npz(tmp_path, x=images.astype(np.float32), y=labels), r"x is float32 \[4, 2, 2\]; need uint8"),
        (f"folder={tmp_path / 'images'}", "z.png: 9x9 pixels where 5x4 is needed"),
        (f"folder={tmp_path / 'broken'}", "0.png: not a readable image"),
        (f"folder={tmp_path / 'images' / 'cat'}", "no class folders"),
    ]
    for spec, message in cases:
        with pytest.raises(DataError, match=message):
            load(spec)
    with pytest.raises(DataError, match="y is int64"):
        load(bad_npz(tmp_path, x=images, y=labels[:3]))
    with pytest.raises(DataError, match="label -1 of sample 2 is no class: classes count from 0"):
        load(bad_npz(tmp_path, x=images, y=np.array([0, 1, -1, 0])))
    with pytest.raises(DataError, match="need x and y"):
        load(bad_npz(tmp_path, a=images))
    with pytest.raises(DataError, match="cannot hold out 5000 of 1438 samples"):
        load("digits", valid=5000)


def test_a_label_outside_the_classes_is_refused(small_cifar: Path) -> None:
    raw = bytearray((small_cifar / "data_batch_2.bin").read_bytes())
    raw[formats.CIFAR10_ROW * 4] = 77
    (small_cifar / "data_batch_2.bin").write_bytes(raw)
    with pytest.raises(DataError, match=r"label 77 of sample 4 is outside 0\.\.9"):
        load(f"cifar10={small_cifar}")


def test_augmentation_shifts_and_mirrors_each_image_by_its_own_draw() -> None:
    images = torch.randint(0, 256, (64, 2, 6, 7), dtype=torch.uint8, generator=generator("images"))
    out = augmented(images, Augment(pad=2, flip=True), generator(0))
    assert torch.equal(out, augmented(images, Augment(pad=2, flip=True), generator(0)))
    assert not torch.equal(out, augmented(images, Augment(pad=2, flip=True), generator(1)))
    padded = torch.nn.functional.pad(images, (2, 2, 2, 2))
    for before, after in zip(padded, out, strict=True):
        windows = [before[:, dy : dy + 6, dx : dx + 7] for dy in range(5) for dx in range(5)]
        assert any(torch.equal(after, w) or torch.equal(after, w.flip(2)) for w in windows)
    assert torch.equal(augmented(images, Augment(), generator(0)), images)


def test_a_batch_is_augmented_only_when_asked() -> None:
    images = torch.randint(0, 256, (8, 1, 8, 8), dtype=torch.uint8, generator=generator("b"))
    data = DataSet("x", images, torch.arange(8), (0.5,), (0.25,), tuple("abcdefgh"), Augment(pad=2))
    index = torch.tensor([5, 1])
    x, y = data.batch(index)
    assert torch.equal(x, (images[index].float() / 255 - 0.5) / 0.25)
    assert y.tolist() == [5, 1]
    assert torch.equal(data.batch(index, 0, "augment", 3)[0], data.batch(index, 0, "augment", 3)[0])
    assert not torch.equal(data.batch(index, 0, "augment", 3)[0], data.batch(index, 0, "augment", 4)[0])


def test_seeds_differ_by_every_part_and_noise_is_gumbel() -> None:
    assert len({derive(0, "a", 1), derive(0, "a", 2), derive(1, "a", 1), derive(0, "b", 1), derive("0", "a", 1)}) == 5
    noise = gumbel((200_000,), 0, "noise")
    assert noise.isfinite().all()
    assert abs(float(noise.mean()) - 0.5772) < 0.01  # the Euler-Mascheroni constant
    assert abs(float(noise.var()) - 1.6449) < 0.03  # pi^2 / 6
