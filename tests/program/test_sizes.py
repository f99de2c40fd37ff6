"""Operators at other sizes of named dimensions: they follow them, or refuse."""

from __future__ import annotations

import numpy as np
import pytest

from dqt.arith.errors import InputError
from dqt.program.interpret import execute
from dqt.program.ops.add import Add
from dqt.runtime import Runtime
from dqt.testing import Builder, inputs
from tests.program.naive import Naive


def with_height() -> Builder:
    b = Builder(4, (3, 4, 5), dims=("", "height", ""))
    b.dimension("height", 1, 9)
    return b


@pytest.mark.parametrize("height", [1, 4, 9])
def test_reductions_and_resizes_follow(height: int) -> None:
    """A mean's multiplier is that of the elements that there are."""
    b = with_height()
    x = b.resize(b.conv("v0", 4), (0, 7), (1, 3, 0, 0), corners=False)
    x = b.binary(Add, b.mean(x, (1, 2)), b.max(x, (1, 2)))
    program = b.build(b.linear(b.flatten(x), 3, integers=True))
    x = inputs(program, 3, sizes={"height": height})
    bound = program.bind(height=height)
    expected = execute(bound, x, 8).codes
    np.testing.assert_array_equal(execute(program, x, 8).codes, expected)
    np.testing.assert_array_equal(Runtime(program, threads=1).execute(x, 8).codes, expected)
    pairs = dict.fromkeys(program.layers, (8, 8))
    (out,) = program.outputs
    for one, sample in zip(expected, x, strict=True):
        values, _ = Naive(bound).run(sample, pairs)
        assert [values[out.value][(i,)] for i in range(3)] == one.tolist()


def test_indices_do_not_follow() -> None:
    b = with_height()
    program = b.build(b.conv(b.gather("v0", 1, (3, 0)), 4))
    program.bind(height=4)
    with pytest.raises(InputError, match="indices are those of a dimension of 4, which would become 5"):
        program.bind(height=5)
    with pytest.raises(InputError, match="indices are those of a dimension of 4, which would become 5"):
        Runtime(program, threads=1)(inputs(program, 1, sizes={"height": 4}).repeat(2, axis=2)[:, :, :5])
    other = with_height()
    other.build(other.conv(other.gather("v0", 2, (3, 0)), 4)).bind(height=5)
