"""Layers that read parts of their ranges, or narrow weights by the nearest rule: the integers of the interpreter."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dqt.arith.plan import Plan
from dqt.program.ops.add import Add
from dqt.program.ops.conv import Conv
from dqt.program.ops.linear import Linear
from dqt.program.program import Program
from dqt.runtime import Runtime
from dqt.runtime.runtime import kernel_names, kernel_sets
from dqt.testing import Builder, Shape, extremes, inputs
from tests.runtime.expected import execute

WIDTHS = (2, 3, 4, 6, 8)
FEW = tuple(itertools.product((2, 3), repeat=2))
POINT: dict[str, Any] = {"kernel": (1, 1), "padding": (0, 0, 0, 0)}
LAYERS: dict[str, tuple[Shape, dict[str, Any]]] = {
    "3x3": ((40, 7, 9), {"count": 64}),
    "many 3x3": ((36, 12, 13), {"count": 130}),
    "stride": ((33, 9, 8), {"count": 100, "stride": (2, 2)}),
    "1x1": ((72, 5, 7), {"count": 128, **POINT}),
    "one pixel": ((200, 1, 1), {"count": 300, **POINT}),
    "groups": ((20, 6, 5), {"count": 24, "groups": 4}),
    "depthwise": ((70, 6, 7), {"count": 70, "groups": 70}),
    "depthwise 5x4": ((9, 8, 7), {"count": 9, "groups": 9, "kernel": (5, 4), "padding": (2, 2, 2, 1)}),
    "pixels": ((3, 9, 11), {"count": 24, "kernel": (5, 5), "padding": (2, 2, 2, 2), "stride": (2, 2)}),
    "one channel": ((1, 8, 9), {"count": 40}),
}


def program_of(shape: Shape, convolution: dict[str, Any], seed: int, *, master: int = 8) -> Program:
    """The convolution between others, with a residual and a linear layer; every layer reads parts at random."""
    rng = np.random.default_rng([seed, 7])
    widths = (*(b for b in WIDTHS if b < master), master)
    b = Builder(seed, shape, master=master, widths=widths, signed=bool(rng.integers(2)))
    x = b.conv("v0", **convolution)
    count = convolution["count"]
    y = b.conv(x, **convolution) if count == shape[0] else b.conv(x, count, **POINT)
    x = b.binary(Add, y, b.conv(y, count, **POINT)) if seed % 2 else y
    return parted(b.build(b.linear(b.flatten(b.avg_pool(x)), 70)), rng)


def parted(program: Program, rng: np.random.Generator) -> Program:
    """The program with random exponents and rules for all its layers."""
    widths, master = program.space.widths, program.space.master
    most = [min(2, master - b) for b in widths]

    def exponents() -> tuple[int, ...]:
        some = (0, int(rng.integers(3)), int(rng.integers(3)))[int(rng.integers(3))]
        return tuple(min(some, top) if rng.integers(4) else int(rng.integers(top + 1)) for top in most)

    def part(op: Any) -> Any:
        if not isinstance(op, Conv | Linear):
            return op
        rule = bool(rng.integers(3) == 0)
        return replace(op, nearest=rule, weight_exponents=exponents(), input_exponents=exponents())

    return replace(program, ops=tuple(part(op) for op in program.ops))


def check(program: Program, x: Any, plans: list[Any], **options: Any) -> None:
    """On every kernel set that runs here."""
    runs = [Runtime(program, isa=isa, **options) for isa in kernel_sets()]
    for plan in plans:
        expected = execute(program, x, plan).codes
        for run in runs:
            np.testing.assert_array_equal(run.codes(x, plan), expected)


@pytest.mark.parametrize("layer", LAYERS)
def test_every_kernel_and_pair_of_widths(layer: str) -> None:
    every = list(itertools.product(WIDTHS, repeat=2))
    for seed, kernel in enumerate([None, *kernel_names()]):
        program = program_of(*LAYERS[layer], seed)
        batches = [inputs(program, 3, seed), extremes(program, 2, seed)]
        plans = [Plan.of(dict.fromkeys(program.layers, pair)) for pair in every[seed % 5 :: 5]]
        plans += [
            Plan.of({name: every[(i + k) % len(every)] for i, name in enumerate(program.layers)}) for k in (3, 11)
        ]
        for x in batches:
            check(program, x, plans, kernel=kernel, threads=1 + seed % 2)


@pytest.mark.parametrize("master", [4, 6])
@pytest.mark.parametrize("layer", ["3x3", "1x1", "depthwise", "groups", "pixels"])
def test_other_masters(layer: str, master: int) -> None:
    for seed in range(3):
        program = program_of(*LAYERS[layer], seed + 20, master=master)
        widths = program.space.widths
        plans = [Plan.of(dict.fromkeys(program.layers, pair)) for pair in itertools.product(widths, repeat=2)]
        check(program, inputs(program, 3, seed), plans, threads=1 + seed % 2)


@pytest.mark.parametrize("layer", ["3x3", "many 3x3", "1x1", "depthwise", "pixels"])
def test_large_batches(layer: str) -> None:
    program = program_of(*LAYERS[layer], 31)
    check(program, inputs(program, 67), [2, 3, 4], threads=2)


@pytest.mark.parametrize("isa", kernel_sets())
@pytest.mark.parametrize("zero", [0, 192, 37])
@pytest.mark.parametrize("pair", FEW)
def test_parts_are_read_by_the_kernels_for_few_bits(pair: tuple[int, int], zero: int, isa: str) -> None:
    """The kernels that an engine takes with whole ranges, it takes with parts; of any zero point."""
    b = Builder(5, (128, 6, 7), widths=WIDTHS)
    b.values["v0"] = replace(b.values["v0"], zero=zero)
    x = b.conv(b.conv("v0", 128, (1, 1), padding=(0, 0, 0, 0)), 128)
    whole = b.build(b.linear(b.flatten(b.avg_pool(x)), 64))
    plan, batch = Plan.of(dict.fromkeys(whole.layers, pair)), inputs(whole, 3)
    expected = Runtime(whole, isa=isa).kernels(batch, plan)
    if isa == "avx2" and pair in {(2, 2), (2, 3)}:
        assert expected[1:3] == ["lookup", "lookup"]
    for nearest, weights, codes in ((False, 0, 1), (False, 1, 0), (False, 2, 2), (True, 0, 0), (True, 1, 2)):
        most = [min(2, 8 - width) for width in WIDTHS]
        reading: dict[str, Any] = {
            "nearest": nearest,
            "weight_exponents": tuple(min(weights, top) for top in most),
            "input_exponents": tuple(min(codes, top) for top in most),
        }
        ops = tuple(replace(op, **reading) if isinstance(op, Conv | Linear) else op for op in whole.ops)
        program = replace(whole, ops=ops)
        assert Runtime(program, isa=isa).kernels(batch, plan) == expected
        for x in (batch, extremes(program, 2)):
            run = Runtime(program, isa=isa)
            np.testing.assert_array_equal(run.codes(x, plan), execute(program, x, plan).codes)


@pytest.mark.parametrize("shape", [(3, 6, 7), (8, 5, 5), (9,)])
def test_an_input_whose_largest_code_is_less_than_that_of_the_master(shape: Shape) -> None:
    """``hi`` of a quantized value lies within the codes, and values beyond it become ``hi``."""
    b = Builder(3, shape, widths=WIDTHS)
    b.values["v0"] = replace(b.values["v0"], hi=100)
    program = b.build(b.linear("v0", 5) if len(shape) == 1 else b.conv("v0", 5))
    for x in (inputs(program, 3), extremes(program, 3)):
        check(program, x, [2, 8], threads=1)


def test_samples_that_choose_their_widths() -> None:
    for seed in range(6):
        b = Builder(seed, (3, 8, 7), widths=(2, 3, 4, 8), signed=seed % 2 == 1)
        x = b.conv("v0", 48)
        b.control(x, 2, (2, 3, 8))
        x = b.conv(b.conv(x, 64), 64, **POINT)
        program = b.build(b.linear(b.flatten(x), 5), choices=(2, 3, 8))
        program = parted(program, np.random.default_rng([seed, 8]))
        check(program, inputs(program, 13, seed), ["auto"], threads=1 + seed % 2)
