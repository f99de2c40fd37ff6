"""Packed numbers: the layout, spelled out bit by bit, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from dqt.program.bits import WORDS, packed, packed_size, unpacked

COUNTS = (1, 2, 7, 8, 9, 15, 100, 8 * WORDS - 1, 8 * WORDS + 1)


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("count", COUNTS)
def test_number_i_takes_the_bits_from_i_times_bits_on(bits: int, count: int) -> None:
    numbers = np.random.default_rng(bits).integers(0, 1 << bits, count).astype(np.uint8)
    data = packed(numbers, bits)
    single = np.unpackbits(numbers[:, None], axis=1, count=bits, bitorder="little")
    assert_array_equal(data, np.packbits(single.reshape(-1), bitorder="little"))
    assert len(data) == packed_size(count, bits)
    assert_array_equal(unpacked(data, bits, count), numbers)


def test_three_numbers_of_three_bits() -> None:
    assert packed(np.array([1, 2, 7], np.uint8), 3).tolist() == [0b11_010_001, 0b1]


@pytest.mark.parametrize("bits", [1, 3, 4, 7])
def test_a_bit_that_belongs_to_no_number_is_refused(bits: int) -> None:
    data = packed(np.zeros(3, np.uint8), bits).copy()
    data[-1] |= 0x80  # no width above has three numbers that end with a byte
    with pytest.raises(ValueError, match="belong to no number"):
        unpacked(data, bits, 3)


@pytest.mark.parametrize("size", [0, 1, 3])
def test_another_size_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="need 2"):
        unpacked(np.zeros(size, np.uint8), 4, 4)
