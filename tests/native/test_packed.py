"""Packed files in the native loader: those that the reader in Python takes, and deflate streams as zlib reads them."""

from __future__ import annotations

import hashlib
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from dqt.program.file import dumps
from dqt.testing import random_model, random_program
from tests.native.build import NATIVE, needs
from tests.native.conftest import Run
from tests.native.test_load import agree
from tests.program import test_packed_file
from tests.program.test_pack import WIDTHS, sample
from tests.program.test_packed_file import GRAPHS, TABLES, big, deflated, forged, regraphed, writable

pytestmark = [needs(*NATIVE), pytest.mark.timeout(1500)]  # the first of them builds


def test_the_same_files_are_legal(run: Run, tmp_path: Path) -> None:
    files = {f"sample {width}": dumps(sample().pack(width)) for width in WIDTHS}
    files |= {f"big {width}": dumps(big(width)) for width in range(2, 8)}
    files |= {f"deflated {width}": dumps(deflated(width)) for width in range(2, 8)}
    for seed in range(20):
        program = random_program(seed, auto=seed % 2 == 1) if seed % 4 else random_model(seed)
        files |= {f"random {seed}, {b}": dumps(program.pack(b)) for b in program.space.widths}
    assert all(agree(run, tmp_path, files))


def test_the_same_damage_is_refused(run: Run, tmp_path: Path) -> None:
    files = {name: forged(writable(change)) for name, (change, _) in TABLES.items()}
    files |= {name: regraphed(change) for name, (change, _) in GRAPHS.items()}
    files["version 2"] = regraphed(lambda g: g["space"].update(packed=3), sample())
    assert not any(agree(run, tmp_path, files))


def test_the_same_sentence_says_what_is_wrong(run: Run, tmp_path: Path) -> None:
    """As far as both say it themselves, and not their JSON."""
    same = [name for name in TABLES if name not in test_packed_file.OTHER_WORDS]
    paths = [tmp_path / f"{i}" for i in range(len(same))]
    for path, name in zip(paths, same, strict=True):
        path.write_bytes(forged(writable(TABLES[name][0])))
    for name, line in zip(same, run(*paths), strict=True):
        assert re.search(TABLES[name][1], line.replace('"', "'")), f"{name}: {line}"


@pytest.mark.parametrize("width", [2, 3, 6])
def test_any_bytes_are_one_error_or_a_program(width: int, run: Run, tmp_path: Path) -> None:
    path = tmp_path / "net.dqt"
    path.write_bytes(dumps(sample().pack(width)))
    (line,) = run("--fuzz", 2500, width, path)
    counts = re.fullmatch(r"2500 files: (\d+) loaded, (\d+) refused, (\d+) kinds of outcome", line)
    assert counts is not None
    loaded, refused, kinds = (int(count) for count in counts.groups())
    assert loaded > 10
    assert refused > 1000
    assert kinds > 80


def contents() -> Iterator[bytes]:
    rng = np.random.default_rng(3)
    yield b""
    yield b"a"
    yield bytes(70_000)
    yield bytes(range(256)) * 300
    yield rng.integers(0, 256, 40_000).astype(np.uint8).tobytes()
    yield np.clip(rng.normal(8, 2, 60_000), 0, 15).astype(np.uint8).tobytes()
    yield rng.choice([3, 5, 250], 50_000, p=[0.98, 0.015, 0.005]).astype(np.uint8).tobytes()
    yield (rng.integers(0, 4, 9_000).astype(np.uint8) * 60).tobytes() * 4


def streams() -> Iterator[tuple[int, bytes]]:
    """Of every kind of block, with codes of every length; the second number: bytes that come out."""
    strategies = (zlib.Z_DEFAULT_STRATEGY, zlib.Z_RLE, zlib.Z_HUFFMAN_ONLY, zlib.Z_FIXED)
    for data in contents():
        for level, strategy in ((0, strategies[0]), *((6, each) for each in strategies)):
            made = zlib.compressobj(level, zlib.DEFLATED, -15, 9, strategy)
            yield len(data), made.compress(data) + made.flush()


def verdict(count: int, data: bytes) -> str:
    """What zlib says."""
    reader = zlib.decompressobj(-15)
    try:
        plain = reader.decompress(data, count + 1)
    except zlib.error:
        return "refused"
    whole = len(plain) == count and reader.eof and not reader.unused_data
    return hashlib.sha256(plain).hexdigest() if whole else "refused"


def compare(run: Run, folder: Path, cases: list[tuple[int, bytes]]) -> list[str]:
    paths = [folder / f"{i}" for i in range(len(cases))]
    for path, (count, data) in zip(paths, cases, strict=True):
        path.write_bytes(struct.pack("<Q", count) + data)
    expected = [verdict(count, data) for count, data in cases]
    assert run("--inflate", *paths) == expected
    return expected


def test_streams_inflate_as_in_zlib(run: Run, tmp_path: Path) -> None:
    found = compare(run, tmp_path, list(streams()))
    assert "refused" not in found


def test_streams_of_another_size_are_refused(run: Run, tmp_path: Path) -> None:
    wrong = [(count + more, data) for count, data in streams() for more in (-1, 1) if count + more >= 0]
    wrong += [(count, data + b"\0") for count, data in streams()]
    wrong += [(count, data[:-1]) for count, data in streams()]
    assert set(compare(run, tmp_path, wrong)) == {"refused"}


@pytest.mark.parametrize("seed", range(3))
def test_damaged_streams_have_the_verdict_of_zlib(seed: int, run: Run, tmp_path: Path) -> None:
    """Most damage is in the head of a block, whose code lengths have many ways to be wrong."""
    rng = np.random.default_rng(seed)
    cases = []
    for count, data in streams():
        for _ in range(30):
            changed = bytearray(data)
            for place in rng.integers(0, min(len(data), int(rng.choice([3, 90, len(data)]))), rng.integers(1, 4)):
                changed[place] ^= 1 << int(rng.integers(8))
            cases.append((count, bytes(changed)))
    found = compare(run, tmp_path, cases)
    assert 0.5 < np.mean([each == "refused" for each in found]) < 1


def test_random_bytes_have_the_verdict_of_zlib(run: Run, tmp_path: Path) -> None:
    """Short ones, of which some are streams."""
    rng = np.random.default_rng(7)
    cases = []
    for _ in range(3000):
        data = rng.bytes(int(rng.integers(1, 40)))
        reader = zlib.decompressobj(-15)
        try:
            count = len(reader.decompress(data, 5000))
        except zlib.error:
            count = int(rng.integers(0, 9))
        cases.append((count, data))
    compare(run, tmp_path, cases)
