"""Where values lie: the sum with a residual takes the place of the residual, if nothing reads that again."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from dqt.program.ops.add import Add
from dqt.program.program import Program
from dqt.runtime import Runtime
from dqt.runtime.runtime import kernel_sets
from dqt.testing import Builder, extremes, inputs
from tests.runtime.expected import execute

CHANNELS, SIDE = 64, 12
IMAGE = CHANNELS * SIDE * SIDE
"""Bytes of one value."""


def block(b: Builder, x: str) -> tuple[str, str]:
    """A residual and the result of a 1x1 convolution that is added to it."""
    other = b.conv(x, CHANNELS, (1, 1), padding=(0, 0, 0, 0))
    inner = b.conv(other, CHANNELS, (1, 1), padding=(0, 0, 0, 0))
    y = b.conv(inner, CHANNELS, (1, 1), padding=(0, 0, 0, 0))
    return other, b.binary(Add, y, other)


def taken(b: Builder) -> str:
    """Nothing reads the residual again: two values at any time."""
    _, x = block(b, "v0")
    return block(b, x)[1]


def read_again(b: Builder) -> str:
    """The residual is read after the sum: both must be there."""
    other, x = block(b, "v0")
    return b.binary(Add, b.conv(x, CHANNELS, (1, 1), padding=(0, 0, 0, 0)), other)


def own_input(b: Builder) -> str:
    """The residual is what the convolution itself reads, at other pixels too."""
    x = b.conv("v0", CHANNELS, (1, 1), padding=(0, 0, 0, 0))
    return b.binary(Add, b.conv(x, CHANNELS, (3, 3)), x)


def borders_differ(b: Builder) -> str:
    """The sum has a border for the next convolution, the residual has none."""
    return b.conv(block(b, "v0")[1], CHANNELS, (3, 3))


def constant(b: Builder) -> str:
    """The residual is a constant, which every run must find as it was."""
    y = b.conv("v0", CHANNELS, (1, 1), padding=(0, 0, 0, 0))
    return b.binary(Add, y, b.constant((CHANNELS, SIDE, SIDE)))


CASES: dict[str, Callable[[Builder], str]] = {
    "taken": taken,
    "read again": read_again,
    "own input": own_input,
    "borders differ": borders_differ,
    "constant": constant,
}


def network(name: str) -> Program:
    b = Builder(5, (CHANNELS, SIDE, SIDE), widths=(2, 4, 8))
    return b.build(CASES[name](b))


def test_memory() -> None:
    """As many bytes less as a value has, where the residual's place is taken."""
    sizes = {name: Runtime(network(name)).arena_bytes() for name in ("taken", "read again")}
    assert sizes["taken"] + IMAGE == sizes["read again"]


@pytest.mark.parametrize("isa", kernel_sets())
@pytest.mark.parametrize("name", CASES)
def test_integers(name: str, isa: str) -> None:
    program = network(name)
    for threads, batch in ((1, 1), (2, 5)):
        run = Runtime(program, threads=threads, isa=isa)
        for b in program.space.widths:
            for x in (inputs(program, batch), extremes(program, batch)):
                np.testing.assert_array_equal(run.codes(x, b), execute(program, x, b).codes)
