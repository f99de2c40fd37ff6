"""Numbers of 1 to 8 bits, packed without gaps: number ``i`` takes the bits from ``i * bits`` on, the lowest bit first.

Eight numbers are eight lanes of a 64-bit word, which three steps squeeze to ``8 * bits`` bits, or spread again.
Bits that divide 8 are read by a table of what each byte holds.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint64]
WORDS = 1 << 13
"""Words at a time: their intermediate results stay in the cache."""
LANES = ((0x00FF00FF00FF00FF, 8), (0x0000FFFF0000FFFF, 16), (0x00000000FFFFFFFF, 32))
"""Every other lane of 8, 16 and 32 bits, and the size of the lane."""


def packed_size(count: int, bits: int) -> int:
    """Bytes of so many numbers."""
    return -(-count * bits // 8)


def packed(numbers: Bytes, bits: int) -> Bytes:
    """Bytes of ``numbers``, uint8 ``[count]`` in ``[0, 2^bits - 1]``; the last byte is filled up with zeros."""
    words = _padded(numbers, 8 * -(-len(numbers) // 8)).view("<u8")
    out = np.empty((len(words), bits), dtype=np.uint8)
    for some in _blocks(len(words)):
        out[some] = _squeezed(words[some], bits).view(np.uint8).reshape(-1, 8)[:, :bits]
    return out.reshape(-1)[: packed_size(len(numbers), bits)]


def unpacked(data: Bytes, bits: int, count: int) -> Bytes:
    """The numbers, uint8 ``[count]``, of :func:`packed`.

    Raises:
        ValueError: ``data`` is longer or shorter, or has a bit that belongs to no number.
    """
    if len(data) != packed_size(count, bits):
        raise ValueError(f"{len(data)} bytes, need {packed_size(count, bits)}")
    numbers: Bytes = _of_bytes(bits)[data].view(np.uint8) if 8 % bits == 0 else _of_groups(data, bits, -(-count // 8))
    if numbers[count:].any():
        raise ValueError("bits that belong to no number")
    return numbers[:count]


@lru_cache
def _of_bytes(bits: int) -> npt.NDArray[Any]:
    """The numbers that each byte holds, 8 / bits of them, side by side in one integer."""
    each = 8 // bits
    numbers = np.arange(256)[:, None] >> (bits * np.arange(each)) & ((1 << bits) - 1)
    return numbers.astype(np.uint8).view(f"u{each}").reshape(-1)


def _of_groups(data: Bytes, bits: int, groups: int) -> Bytes:
    """The numbers of groups of eight, each of which takes as many bytes as a number has bits."""
    given = _padded(data, groups * bits).reshape(-1, bits)
    out = np.empty(groups, dtype="<u8")
    for some in _blocks(groups):
        word = np.zeros((len(given[some]), 8), dtype=np.uint8)
        word[:, :bits] = given[some]
        out[some] = _spread(word.view("<u8").reshape(-1), bits)
    return out.view(np.uint8)


def _padded(data: Bytes, size: int) -> Bytes:
    """``data`` with zeros up to ``size`` bytes, contiguous."""
    return np.ascontiguousarray(data) if len(data) == size else np.pad(data, (0, size - len(data)))


def _blocks(count: int) -> list[slice]:
    return [slice(i, i + WORDS) for i in range(0, count, WORDS)]


def _squeezed(words: Words, bits: int) -> Words:
    """Lane by lane next to its neighbour: eight numbers in the low ``8 * bits`` bits of each word."""
    for i, (mask, size) in enumerate(LANES):
        low, high = np.uint64(mask), np.uint64(size)
        words = (words & low) | ((words >> high & low) << np.uint64(bits << i))
    return words


def _spread(words: Words, bits: int) -> Words:
    """The reverse of :func:`_squeezed`."""
    for i, (_, size) in reversed([*enumerate(LANES)]):
        used = bits << i
        mask = np.uint64(sum(((1 << used) - 1) << at for at in range(0, 64, 2 * size)))  # of every other lane
        words = (words & mask) | ((words >> np.uint64(used) & mask) << np.uint64(size))
    return words
