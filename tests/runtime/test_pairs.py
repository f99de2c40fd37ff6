"""Pairs of products in 16 bits, at every pair of widths: integers of the interpreter on every kernel set, by name."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dqt.arith.plan import Plan
from dqt.program.ops.add import Add
from dqt.program.ops.conv import Conv
from dqt.program.program import Program
from dqt.runtime import Runtime
from dqt.runtime.runtime import kernel_names, kernel_sets
from dqt.testing import Builder, extremes, inputs
from tests.runtime.expected import execute

ISAS = kernel_sets()
WIDTHS = tuple(range(2, 9))
RAGGED = (5, 9, 13, 18, 36)
"""Channels of which a segment of taps is no whole number of 8 steps of 4 channels."""


def network(channels: int, seed: int, side: int = 6) -> Program:
    """Two convolutions of a value, 3x3 and 1x1, so that it is stored at no width but the master's."""
    b = Builder(seed, (channels, side, side), widths=WIDTHS)
    x = b.conv("v0", channels, (1, 1), padding=(0, 0, 0, 0))
    y = b.conv(x, 33, (3, 3), padding=(1, 1, 1, 1))
    z = b.conv(x, 33, (1, 1), padding=(0, 0, 0, 0))
    return b.build(b.binary(Add, y, z))


def with_weights(program: Program, change: Any) -> Program:
    """The program with other weights of its convolutions: ``change(weight)``."""
    ops = (replace(op, weight=change(op.weight)) if isinstance(op, Conv) else op for op in program.ops)
    return replace(program, ops=tuple(ops))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("channels", RAGGED)
def test_codes_without_low_bits_at_ragged_channels(channels: int, isa: str) -> None:
    program = network(channels, seed=channels)
    run, x = Runtime(program, threads=1, isa=isa), extremes(program, 2)
    for w, a in itertools.product(WIDTHS, WIDTHS):
        plan = Plan.of({name: (w, a if i % 2 else 8) for i, name in enumerate(program.layers)})
        np.testing.assert_array_equal(run.codes(x, plan), execute(program, x, plan).codes, f"{w} by {a} bits")


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("channels", [16, 19, 80])
@pytest.mark.parametrize("size", ["small", "random", "largest", "least", "mixed"])
def test_pairs_that_fit_and_pairs_that_do_not(size: str, channels: int, isa: str) -> None:
    """Weights of which no pair exceeds 16 bits, some do, all do; and whole codes of 255."""
    rng = np.random.default_rng(channels)
    changes = {
        "small": lambda w: w // 2,
        "random": lambda w: w,
        "largest": lambda w: np.full_like(w, 127),
        "least": lambda w: np.full_like(w, -128),
        "mixed": lambda w: np.where(rng.random(w.shape) < 0.1, rng.choice([-128, 127], w.shape), w // 3).astype(
            np.int8
        ),
    }
    program = with_weights(network(channels, seed=1, side=7), changes[size])
    for x in (inputs(program, 3), extremes(program, 3), np.full((1, channels, 7, 7), 1e9, np.float32)):
        for threads, plan in ((1, 8), (2, 8), (1, 7)):
            got = Runtime(program, threads=threads, isa=isa).codes(x, plan)
            np.testing.assert_array_equal(got, execute(program, x, plan).codes)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("kernel", ["winograd2x2", "winograd4x4"])
@pytest.mark.parametrize(
    ("channels", "outputs", "size"),
    [
        (20, 49, (8, 5)),
        (64, 64, (9, 7)),
        (130, 128, (6, 9)),
        (192, 64, (5, 13)),
        (420, 64, (5, 5)),
        (180, 100, (5, 13)),
        (16, 16, (8, 9)),
        (32, 20, (6, 5)),
        (48, 80, (5, 8)),
        (5, 7, (4, 4)),
    ],
)
def test_winograd_at_every_width(channels: int, outputs: int, size: tuple[int, int], kernel: str, isa: str) -> None:
    """Where the set has it at these widths and outputs: AVX-512 VNNI has the largest tile, for panels of more than 32.

    With a residual, tiles past the edge, weights transformed in parts, more tiles than one group of blocks takes. One
    pair of widths shows that the portable set, which has no transform, takes another kernel.
    """
    pairs = ((8, 8), (8, 4), (4, 8), (7, 7), (4, 6), (2, 2))[: 1 if isa == "portable" else None]
    wide = kernel == "winograd4x4" and isa in ("avx512vnni", "avx512amx")
    takes = isa in ("avx2", "avx512bw") or (wide and -outputs % 64 < 32)
    b = Builder(channels, (channels, *size), widths=WIDTHS)
    x = b.conv("v0", channels, (1, 1), padding=(0, 0, 0, 0))
    y = b.conv(x, outputs, (3, 3), padding=(1, 1, 1, 1))
    program = b.build(b.binary(Add, y, b.conv(x, outputs, (1, 1), padding=(0, 0, 0, 0))))
    extreme = with_weights(program, lambda w: np.where(w > 0, 127, -128).astype(np.int8))
    program = with_weights(program, lambda w: w // 2)  # of many channels the sums of larger ones would not fit
    for each, threads in ((program, 1), (program, 2), (extreme, 1)):
        run = Runtime(each, threads=threads, isa=isa, kernel=kernel)
        if takes and (kernel == "winograd2x2" or each is program):
            assert kernel in run.kernels(inputs(each, 1), 8)
        for batch in (inputs(each, 3), extremes(each, 3), np.full((2, channels, *size), 1e9, np.float32)):
            for pair in pairs:
                plan = Plan.of(dict.fromkeys(each.layers, pair))
                np.testing.assert_array_equal(run.codes(batch, plan), execute(each, batch, plan).codes, str(pair))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("kernel", kernel_names())
@pytest.mark.parametrize("nearest", [False, True])
def test_one_input_channel_whose_midpoints_go_by_tap(kernel: str, isa: str, *, nearest: bool) -> None:
    """Behind another layer, where no first layer's packing serves it: no kernel takes midpoints by channel here."""
    b = Builder(7, (3, 9, 10), widths=WIDTHS)
    x = b.conv("v0", 1, (1, 1), padding=(0, 0, 0, 0))
    program = b.build(b.conv(x, 64, (3, 3), padding=(1, 1, 1, 1)))
    program = replace(
        program, ops=tuple(replace(op, nearest=nearest) if isinstance(op, Conv) else op for op in program.ops)
    )
    run, batch = Runtime(program, threads=1, isa=isa, kernel=kernel), inputs(program, 3)
    for pair in itertools.product(WIDTHS, WIDTHS):
        plan = Plan.of(dict.fromkeys(program.layers, pair))
        np.testing.assert_array_equal(run.codes(batch, plan), execute(program, batch, plan).codes, str(pair))


@pytest.mark.parametrize("isa", ["avx2", "avx512bw", "avx512vnni", "avx512amx"])
@pytest.mark.parametrize(("weight", "fits"), [(127, True), (-128, False)])
def test_the_largest_tile_is_taken_where_its_sums_fit(weight: int, fits: bool, isa: str) -> None:
    """64 * 255 codes * 9 taps * 115 channels * 127 is 0.1 % below 2^31, and with 128 it is beyond."""
    if isa not in ISAS:
        pytest.skip("this processor has no such set")
    b = Builder(0, (115, 8, 8), widths=(2, 8))
    program = with_weights(b.build(b.conv("v0", 64, (3, 3), padding=(1, 1, 1, 1))), lambda w: np.full_like(w, weight))
    x = np.full((2, 115, 8, 8), 1e9, np.float32)
    run = Runtime(program, threads=1, isa=isa, kernel="winograd4x4")
    assert ("winograd4x4" in run.kernels(x, 8)) is fits
    np.testing.assert_array_equal(run.codes(x, 8), execute(program, x, 8).codes)
