"""Products on tiles: integers of the interpreter for geometries of rows, segments and panels, whatever the width."""

from __future__ import annotations

import numpy as np
import pytest

from dqt.arith.plan import Plan
from dqt.program.ops.add import Add
from dqt.program.program import Program
from dqt.runtime import Runtime
from dqt.runtime.runtime import kernel_sets
from dqt.testing import Builder, extremes, inputs
from tests.runtime.expected import execute

ISAS = kernel_sets()[:2]
Pair = tuple[int, int]
Geometry = tuple[tuple[int, int, int], Pair, Pair, tuple[int, int, int, int], Pair, int, int]
GEOMETRIES: list[Geometry] = [
    # channels and size; kernel; stride; padding; dilation; outputs; groups
    ((64, 7, 7), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 64, 1),  # rows of an image with pixels of nothing between them
    ((16, 5, 33), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 16, 1),  # a segment of 48 bytes; one vector
    ((68, 9, 6), (1, 1), (1, 1), (0, 0, 0, 0), (1, 1), 70, 1),  # 17 steps of four channels: gathered
    ((68, 6, 9), (3, 3), (1, 1), (1, 1, 1, 1), (2, 1), 40, 1),
    ((44, 8, 8), (1, 1), (2, 2), (0, 0, 0, 0), (1, 1), 130, 1),  # rows of a stride
    ((128, 15, 15), (3, 3), (2, 2), (1, 1, 1, 1), (1, 1), 64, 1),
    ((32, 4, 40), (1, 7), (1, 3), (0, 0, 3, 3), (1, 1), 33, 1),
    ((24, 12, 5), (5, 1), (1, 1), (2, 2, 0, 0), (1, 2), 64, 1),
    ((120, 6, 6), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 60, 3),  # groups of 40 by 20
    ((52, 6, 6), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 68, 2),  # groups padded to 28 channels
    ((576, 4, 4), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 128, 1),
    ((20, 2, 2), (1, 1), (1, 1), (0, 0, 0, 0), (1, 1), 64, 1),  # an image is one tile of four rows
]


def network(geometry: Geometry) -> Program:
    shape, kernel, stride, padding, dilation, count, groups = geometry
    b = Builder(2, shape, widths=tuple(range(2, 9)))
    x = b.conv("v0", shape[0], (1, 1), padding=(0, 0, 0, 0))
    y = b.conv(x, count, kernel, stride=stride, padding=padding, dilation=dilation, groups=groups)
    z = b.conv(y, count, (1, 1), padding=(0, 0, 0, 0))
    return b.build(b.binary(Add, z, y))


def check(program: Program, *, isa: str, kernel: str | None = "block", batches: tuple[int, ...] = (1, 5)) -> None:
    """The integers of every width, of random and of extreme samples."""
    plans = [*range(2, 9), Plan.of({name: (2 + i % 7, 8 - i % 6) for i, name in enumerate(program.layers)})]
    for threads, batch in zip((1, 2), batches, strict=True):
        run = Runtime(program, threads=threads, isa=isa, kernel=kernel)
        for plan in plans:
            for x in (inputs(program, batch), extremes(program, batch)):
                got, expected = run.codes(x, plan), execute(program, x, plan).codes
                np.testing.assert_array_equal(got, expected, f"{plan}, {threads} threads")


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_convolutions(geometry: Geometry, isa: str) -> None:
    check(network(geometry), isa=isa)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("depth", [4, 16, 60, 64, 68, 236, 576])
@pytest.mark.parametrize("rows", [1, 3, 5, 16, 17, 31, 50])
def test_linear_layers(rows: int, depth: int, isa: str) -> None:
    b = Builder(depth + rows, (rows, depth), widths=tuple(range(2, 9)))
    x = b.linear("v0", depth)
    y = b.linear(x, 100)
    check(b.build(b.linear(b.binary(Add, b.linear(y, 100), y), 10)), isa=isa, batches=(2, 3))
