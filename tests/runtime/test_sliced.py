"""Linear layers that the engine stores in slices: the interpreter's integers at every width and number of rows."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from dqt.arith.plan import Plan
from dqt.program.ops.linear import Linear
from dqt.program.program import Program
from dqt.runtime import Runtime
from dqt.runtime.runtime import kernel_sets
from dqt.testing import Builder, extremes, inputs
from tests.runtime.expected import execute

WIDTHS = (2, 3, 4, 5, 6, 7, 8)
LEAST = 1 << 20
SHAPES = [(1021, 1030), (16390, 65), (1024, 1024)]  # inputs, outputs: at least LEAST weights, odd and even


def linear(shape: tuple[int, ...], count: int, *, wide: bool = False, seed: int = 3) -> Program:
    b = Builder(seed, shape, widths=WIDTHS, signed=count % 2 == 1)
    return b.build(b.linear("v0", count, integers=wide))


def plan(program: Program, weight: int, activation: int) -> Plan:
    return Plan.of(dict.fromkeys(program.layers, (weight, activation)))


def equal(program: Program, runs: list[Runtime], rows: int, weight: int, activation: int) -> None:
    x = inputs(program, rows, rows)
    pair = plan(program, weight, activation)
    expected = execute(program, x, pair).codes
    for run in runs:
        np.testing.assert_array_equal(run.codes(x, pair), expected, err_msg=run.isa)


def every_set(program: Program, threads: int) -> list[Runtime]:
    """Of every kernel set but plain loops, if there are others: they have no slices and are slow."""
    sets = kernel_sets()
    return [Runtime(program, threads=threads, isa=isa) for isa in sets[:-1] or sets]


@pytest.mark.parametrize("wide", [False, True])
def test_every_pair_of_widths(wide: bool) -> None:
    program = linear((1021,), 1030, wide=wide)
    runs = every_set(program, 1)
    for weight, activation in itertools.product(WIDTHS, WIDTHS):
        equal(program, runs, 1, weight, activation)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("depth", "count"), SHAPES)
def test_rows(depth: int, count: int, threads: int) -> None:
    program = linear((depth,), count)
    runs = every_set(program, threads)
    for rows, weight in itertools.product((1, 2, 3, 4, 5, 9, 33), WIDTHS):
        equal(program, runs, rows, weight, WIDTHS[(rows + weight) % len(WIDTHS)])


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("shape", [(5, 1021), (3, 4, 1021)])
def test_rows_inside_a_sample(shape: tuple[int, ...], threads: int) -> None:
    program = linear(shape, 1030)
    runs = every_set(program, threads)
    for samples, weight in itertools.product((1, 2), WIDTHS):
        equal(program, runs, samples, weight, 8)


@pytest.mark.parametrize("isa", kernel_sets())
def test_extremes_of_every_kernel_set(isa: str) -> None:
    program = linear((1021,), 1030, seed=8)
    x = extremes(program, 3)
    x[0] = 1e9
    run = Runtime(program, threads=2, isa=isa)
    for weight in WIDTHS:
        pair = plan(program, weight, 8)
        np.testing.assert_array_equal(run.codes(x, pair), execute(program, x, pair).codes)


@pytest.mark.parametrize("nearest", [False, True])
@pytest.mark.parametrize("e", [0, 1, 2])
def test_parts_of_ranges_and_the_nearest_rule(e: int, nearest: bool) -> None:
    program = linear((1021,), 1030)
    (op,) = (each for each in program.ops if isinstance(each, Linear))
    parts = tuple(min(e, 8 - b) for b in WIDTHS)
    read = replace(op, nearest=nearest, weight_exponents=parts, input_exponents=parts)
    program = replace(program, ops=tuple(read if each is op else each for each in program.ops))
    run = Runtime(program, threads=1)
    runs = every_set(program, 1)
    for rows, weight in itertools.product((1, 3, 33), WIDTHS):
        equal(program, runs, rows, weight, WIDTHS[(rows + weight) % len(WIDTHS)])
    plain = Runtime(linear((1021,), 1030), threads=1)
    assert run._engine.weight_bytes == plain._engine.weight_bytes


def test_there_is_one_copy_of_the_weights() -> None:
    program = linear((1024,), 1024)
    stored = Runtime(program, threads=1)._engine.weight_bytes
    assert LEAST <= stored <= LEAST + (16 << 10)
