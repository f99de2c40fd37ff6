"""The native engine gives the interpreter's integers, always: equality, no tolerance."""

from __future__ import annotations

import gc
import itertools
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pytest

from dqt import example
from dqt.arith.cascade import Cascade
from dqt.arith.errors import InputError
from dqt.arith.plan import Plan, PlanLike
from dqt.program import file, verify
from dqt.program.interpret import dequantized, interpret
from dqt.program.ops.add import Add
from dqt.program.ops.conv import Conv
from dqt.program.ops.linear import Linear
from dqt.program.ops.multiply import Multiply
from dqt.program.program import Program, ProgramError
from dqt.program.signature import Signature
from dqt.runtime import Runtime, RuntimeUnavailableError
from dqt.runtime.runtime import kernel_names, kernel_sets
from dqt.testing import Builder, Shape, extremes, inputs, random_program
from tests.program.networks import divided
from tests.runtime.expected import execute

ISAS, KERNELS = kernel_sets(), kernel_names()


@lru_cache(maxsize=8)
def engine(program: Program, **options: Any) -> Runtime:
    """One for all plans and batches of a test."""
    return Runtime(program, **options)


def check(program: Program, plan: PlanLike, x: Any = None, *, threads: int = 1, **kernels: Any) -> None:
    x = inputs(program, 5) if x is None else x
    run = engine(program, threads=threads, **kernels)
    expected = execute(program, x, plan)
    got = run.execute(x, plan)
    np.testing.assert_array_equal(got.codes, expected.codes)
    np.testing.assert_array_equal(got.widths, expected.widths)
    np.testing.assert_array_equal(got.passes, expected.passes)
    np.testing.assert_array_equal(run(x, plan), dequantized(Signature.of(program).outputs, expected.codes))


def any_plan(program: Program, seed: int) -> Plan:
    """Another pair of widths for each layer."""
    rng = np.random.default_rng(seed)
    pairs = {name: tuple(int(b) for b in rng.choice(program.space.widths, 2)) for name in program.layers}
    return Plan.of(pairs)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("seed", range(40))
def test_random_programs(seed: int, isa: str) -> None:
    program = random_program(seed)
    for b in program.space.widths:
        check(program, b, isa=isa)
    check(program, any_plan(program, seed), isa=isa, threads=1 + seed % 3)
    for kernel in KERNELS:
        check(program, any_plan(program, seed + 1), isa=isa, kernel=kernel)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("seed", range(20))
def test_auto_and_its_samples_alone(seed: int, isa: str) -> None:
    program = random_program(seed, auto=True)
    x = inputs(program, 7, seed)
    check(program, "auto", x, isa=isa, threads=1 + seed % 2)
    run = Runtime(program, threads=1, isa=isa)
    together = run.codes(x, "auto")
    for i in range(len(x)):
        np.testing.assert_array_equal(run.codes(x[i : i + 1], "auto")[0], together[i])
    check(program, program.space.master, x, isa=isa)


GEOMETRY: list[tuple[Shape, Shape, Shape, Shape, Shape, int, int]] = [
    # input, kernel, stride, padding, dilation, groups, output channels
    ((3, 23, 19), (7, 7), (2, 2), (3, 3, 3, 3), (1, 1), 1, 65),
    ((16, 9, 11), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1, 16),
    ((32, 8, 8), (1, 1), (2, 2), (0, 0, 0, 0), (1, 1), 1, 130),
    ((20, 7, 5), (3, 5), (1, 2), (2, 0, 1, 3), (2, 1), 1, 33),
    ((20, 7, 9), (3, 3), (2, 1), (1, 1, 1, 1), (1, 2), 5, 15),
    ((12, 7, 9), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 2, 70),
    ((67, 9, 7), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 67, 67),
    ((130, 6, 6), (3, 3), (2, 2), (1, 1, 1, 1), (1, 1), 130, 130),
    ((24, 9, 9), (5, 5), (1, 1), (2, 2, 2, 2), (1, 1), 24, 24),
    ((24, 9, 9), (5, 4), (2, 1), (2, 2, 1, 2), (1, 2), 24, 24),
    ((6, 5, 5), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 6, 18),
    ((1, 8, 8), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1, 20),
    ((4, 1, 1), (1, 1), (1, 1), (0, 0, 0, 0), (1, 1), 1, 1),
]


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(("shape", "kernel", "stride", "padding", "dilation", "groups", "count"), GEOMETRY)
def test_convolutions(
    shape: Shape,
    kernel: Shape,
    stride: Shape,
    padding: Shape,
    dilation: Shape,
    groups: int,
    count: int,
    signed: bool,
    isa: str,
) -> None:
    b = Builder(7, shape, signed=signed)
    y = b.conv(next(iter(b.values)), count, kernel, stride=stride, padding=padding, dilation=dilation, groups=groups)
    program = b.build(y)
    x = inputs(program, 3)
    for plan in (8, 2, any_plan(program, 1), any_plan(program, 2)):
        check(program, plan, x, isa=isa, threads=2)
        check(program, plan, extremes(program, 3), isa=isa)


def test_the_number_of_threads_and_samples_changes_nothing() -> None:
    program = random_program(3)
    x, b = inputs(program, 70), program.space.widths[0]
    expected = execute(program, x, b).codes
    for threads in (1, 2, 3):
        np.testing.assert_array_equal(Runtime(program, threads=threads).codes(x, b), expected)
    np.testing.assert_array_equal(Runtime(program).codes(np.asfortranarray(x), b), expected)


@pytest.mark.parametrize("threads", [0, -1, 1.5, "2", True])
def test_what_is_no_number_of_threads_is_one_clear_error(threads: Any) -> None:
    with pytest.raises(ValueError, match="need a whole number of at least 1"):
        Runtime(random_program(0), threads=threads)


@pytest.mark.parametrize("threads", [np.int64(1), 10**30])
def test_any_whole_number_of_threads_is_taken(threads: Any) -> None:
    check(random_program(0), None, threads=threads)


def test_one_runtime_from_several_threads() -> None:
    program = random_program(5)
    x = inputs(program, 4)
    expected = {b: execute(program, x, b).codes for b in program.space.widths}
    run = Runtime(program, threads=2)
    with ThreadPoolExecutor(4) as pool:
        plans = [program.space.widths[i % len(program.space.widths)] for i in range(64)]
        for b, codes in zip(plans, pool.map(lambda b: run.codes(x, b), plans), strict=True):
            np.testing.assert_array_equal(codes, expected[b])


def test_a_cascade() -> None:
    b = Builder(0, (3, 6, 6))
    program = b.build(b.linear(b.reshape(next(iter(b.values)), (108,)), 10))
    x = inputs(program, 40)
    check(program, Cascade((2, 4, 8), (40, 40)), x)


def test_torch_and_dlpack_are_read() -> None:
    torch = pytest.importorskip("torch")
    program = random_program(1)
    x = inputs(program, 2)
    run = Runtime(program)
    np.testing.assert_array_equal(run(torch.from_numpy(x)), run(x))


def test_errors_are_clear() -> None:
    program = random_program(0)
    with pytest.raises(RuntimeUnavailableError, match=r"isa 'mmx': this processor runs .*portable"):
        Runtime(program, isa="mmx")
    with pytest.raises(ValueError, match="threads=0"):
        Runtime(program, threads=0)
    with pytest.raises(RuntimeUnavailableError, match="kernel 'fft': there are block, winograd2x2"):
        Runtime(program, kernel="fft")
    with pytest.raises(InputError, match="this program takes"):
        Runtime(program)(np.zeros((1, 1, 1, 99), dtype=np.float32))


def test_a_profile_names_the_kernel_of_each_layer_that_ran() -> None:
    program = random_program(3, auto=True)
    x, run = inputs(program, 2), Runtime(program, threads=1)
    layers = [isinstance(op, Conv | Linear) for op in program.ops]
    for plan in (program.space.master, "auto"):
        kernels, seconds = run.kernels(x, plan), run.profile(x, plan)
        assert len(kernels) == len(seconds) == len(program.ops)
        for layer, kernel, took in zip(layers, kernels, seconds, strict=True):
            assert (kernel != "") == (layer and took > 0)
    assert run.peak() > 1e6
    assert run.weight_bytes > 0
    assert run.arena_bytes(4) == 4 * run.arena_bytes()


@pytest.mark.parametrize("isa", kernel_sets())
def test_a_layer_takes_the_kernel_that_the_model_of_costs_says(isa: str) -> None:
    b = Builder(0, (128, 12, 12))
    program = b.build(b.conv(b.conv("v0", 128), 128))
    x, run = inputs(program, 3), Runtime(program, threads=1, isa=isa)
    for bits in (2, 3, 4, 8):
        plan = Plan.of(dict.fromkeys(program.layers, (bits, bits)))
        rows = zip(program.ops, run.kernels(x, plan), run.estimates(x, plan), strict=True)
        for op, kernel, estimates in rows:
            assert bool(estimates) == isinstance(op, Conv)
            if estimates:
                assert kernel == min(estimates, key=lambda each: np.dot(each[1], each[2]))[0]
                assert {name for name, _, _ in estimates} >= {"block"}
                # the block kernel's first count is products: 12 * 12 pixels of 3 samples, 128 by 128 channels, 3 by 3
                assert {name: counts[0] for name, counts, _ in estimates}["block"] == 144 * 3 * 128 * 128 * 9


def test_kernels_by_name_and_by_cost() -> None:
    b = Builder(0, (128, 12, 12))
    program = b.build(b.linear(b.reshape(b.conv(b.conv("v0", 128), 128), (128 * 144,)), 64))
    x = inputs(program, 2)
    plans = {b: Plan.of(dict.fromkeys(program.layers, (b, b))) for b in (2, 3, 4, 8)}
    by_name = {kernel: set(Runtime(program, kernel=kernel).kernels(x, plans[2])) for kernel in KERNELS}
    by_cost = {b: set(Runtime(program).kernels(x, plan)) for b, plan in plans.items()}
    assert by_name["block"] == {"", "block"}
    isa = Runtime(program).isa
    for plain in {"avx512bw", "avx2"} & set(kernel_sets()):
        for kernel in KERNELS:
            found = set(Runtime(program, kernel=kernel, isa=plain).kernels(x, plans[2]))
            assert found == {"", "block", kernel} - {"winograd2x4", "winograd3x4"}  # transforms in bytes, for VNNI
    if isa not in ("avx512vnni", "avx512amx"):
        pytest.skip("which kernels are the cheapest is known of AVX-512 with VNNI alone")
    assert by_name == {kernel: {"", "block", kernel} for kernel in KERNELS}
    assert set(Runtime(program, kernel="winograd3x4").kernels(x, plans[3])) == {"", "block"}  # not exact there
    if isa == "avx512amx":  # products are what tiles have plenty of
        assert all(names == {"", "block", "slices"} for names in by_cost.values())
    elif "AuthenticAMD" in Path("/proc/cpuinfo").read_text():
        assert by_cost == BY_COST


BY_COST = {
    8: {"", "winograd4x4", "slices"},
    4: {"", "winograd2x2", "slices"},
    3: {"", "winograd2x4", "slices"},
    2: {"", "winograd3x4", "slices"},
}


def test_a_depthwise_layer_asks_for_no_more_than_its_values() -> None:
    b = Builder(0, (64, 20, 20))
    program = b.build(b.conv("v0", 64, groups=64))
    assert Runtime(program).arena_bytes() < 64 * (22 * 22 + 20 * 20 + 22 * 22) + 4096  # input, output, narrowed input


def resident() -> int:
    with open("/proc/self/statm") as file:  # noqa: PTH123 - a file of the kernel
        return int(file.read().split()[1]) * 4096


def test_nothing_grows() -> None:
    program = random_program(2)
    x = inputs(program, 2)
    run = Runtime(program, threads=1)
    for b in program.space.widths * 50:
        run.codes(x, b)
    gc.collect()
    before = resident()
    for i in range(2000):
        run.codes(x, program.space.widths[i % 2])
    assert resident() - before < 1 << 20


WINOGRAD: list[tuple[Shape, int, Shape]] = [
    # input, output channels, padding
    ((3, 8, 8), 64, (1, 1, 1, 1)),
    ((20, 4, 4), 49, (1, 1, 1, 1)),
    ((32, 7, 7), 64, (1, 1, 1, 1)),
    ((67, 9, 6), 60, (1, 1, 1, 1)),
    ((128, 5, 8), 100, (1, 1, 1, 1)),
    ((40, 6, 5), 130, (2, 0, 0, 2)),
    ((33, 3, 3), 48, (0, 0, 0, 0)),
    ((64, 1, 1), 64, (1, 1, 1, 1)),
]


@pytest.mark.parametrize("kernel", [None, "winograd2x2", "winograd2x4", "winograd3x4", "winograd4x4"])
@pytest.mark.parametrize("master", [4, 6, 8])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(("shape", "count", "padding"), WINOGRAD)
def test_the_transform_of_few_bits(
    shape: Shape, count: int, padding: Shape, signed: bool, master: int, kernel: str | None
) -> None:
    b = Builder(3, shape, signed=signed, master=master, widths=tuple(w for w in (2, 3, 4, 6, 8) if w <= master))
    x = b.conv(b.conv(next(iter(b.values)), count, padding=padding), shape[0], (1, 1), padding=(0, 0, 0, 0))
    y = b.conv(x, count)
    program = b.build(y)
    random = inputs(program, 5)
    for seed, batch in enumerate((random, extremes(program, 5, 1), np.full_like(random, 1e9))):
        for plan in (2, min(4, master), any_plan(program, seed)):
            check(program, plan, batch, threads=1 + seed, kernel=kernel)


TRANSFORMS = {  # B and G' of F(OUT, 3), csrc/cpu/simd/winograd_forms.h
    2: (
        [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]],
        [[2, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]],
    ),
    3: (
        [[2, -1, -2, 1, 0], [0, -2, -1, 1, 0], [0, 2, -3, 1, 0], [0, -1, 0, 1, 0], [0, 2, -1, -2, 1]],
        [[3, 0, 0], [1, 1, 1], [1, -1, 1], [1, 2, 4], [0, 0, 6]],
    ),
    4: (
        [[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0], [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0],
         [0, 4, 0, -5, 0, 1]],
        [[6, 0, 0], [2, 2, 2], [2, -2, 2], [1, 2, 4], [1, -2, 4], [0, 0, 8]],
    ),
}  # fmt: skip


def signs(down: int, across: int, which: int) -> npt.NDArray[np.bool_]:
    """Where the coefficients of each position of a transform are positive, and where they are not: [2P, ...]."""
    pairs = [np.outer(u, v) > 0 for u in TRANSFORMS[down][which] for v in TRANSFORMS[across][which]]
    return np.stack([*pairs, *(~pair for pair in pairs)])


@pytest.mark.parametrize(("down", "across", "bits"), [(2, 2, 4), (2, 2, (4, 6)), (2, 4, 3), (3, 4, 2)])
def test_the_transform_of_the_worst_tiles(down: int, across: int, bits: int | tuple[int, int]) -> None:
    tiles, taps = signs(down, across, 0), signs(down, across, 1)
    b = Builder(0, (len(tiles), down + 2, across + 2), widths=(2, 3, 4, 6, 8))
    program = b.build(b.conv("v0", 2 * len(taps) + 4, padding=(0, 0, 0, 0)))
    (conv,) = (op for op in program.ops if isinstance(op, Conv))
    weight = conv.weight.copy()
    weight[: 2 * len(taps)] = np.where(np.concatenate([taps, ~taps]), -128, 127)[:, None]
    program = replace(program, ops=tuple(replace(op, weight=weight) if op is conv else op for op in program.ops))
    x = np.where(np.stack([tiles, ~tiles]), np.float32(1e9), np.float32(-1e9))
    check(program, Plan.of({conv.layer: bits}), x, kernel=f"winograd{down}x{across}")


Geometry: TypeAlias = tuple[Shape, Shape, Shape, Shape, Shape, int]
"""Input, kernel, stride, padding, dilation, output channels."""
ROWS: list[Geometry] = [
    ((3, 23, 19), (7, 7), (2, 2), (3, 3, 3, 3), (1, 1), 64),
    ((3, 12, 20), (4, 4), (4, 4), (0, 0, 0, 0), (1, 1), 97),
    ((3, 9, 9), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 16),
    ((3, 9, 14), (1, 5), (1, 2), (0, 0, 1, 3), (1, 1), 70),
    ((2, 11, 9), (5, 3), (2, 1), (4, 0, 2, 1), (3, 1), 33),
    ((2, 8, 8), (3, 5), (1, 1), (1, 1, 2, 2), (1, 2), 20),
    ((1, 14, 13), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 20),
    ((1, 9, 9), (5, 5), (2, 2), (2, 2, 2, 2), (2, 1), 65),
    ((1, 6, 6), (2, 2), (2, 2), (0, 0, 0, 0), (1, 1), 5),
    ((1, 5, 3), (3, 3), (1, 1), (2, 2, 2, 2), (1, 1), 1),
]


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("master", [4, 8])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("layer", ROWS)
def test_pixels_without_padding(layer: Geometry, signed: bool, master: int, isa: str) -> None:
    """The first layer's rows of taps, each one segment; then another layer, of 1x1, reads the same pixels, too."""
    shape, kernel, stride, padding, dilation, count = layer
    for beside in (False, True):
        b = Builder(5, shape, signed=signed, master=master, widths=tuple(w for w in (2, 3, 4, 6, 8) if w <= master))
        (x,) = b.values
        y = b.conv(x, count, kernel, stride=stride, padding=padding, dilation=dilation)
        if beside:
            y = b.binary(Add, y, b.avg_pool(b.conv(x, count, (1, 1), padding=(0, 0, 0, 0))))
        program = b.build(y)
        for seed, batch in enumerate((inputs(program, 3), extremes(program, 3))):
            for plan in (master, 2, any_plan(program, seed)):
                check(program, plan, batch, isa=isa, threads=1 + seed)


def test_pixels_of_an_input_that_others_read_are_padded() -> None:
    sizes = []
    for padded in (False, True):
        b = Builder(0, (1, 40, 40))
        y = b.conv("v0", 1)
        sizes.append(Runtime(b.build(b.binary(Add, y, "v0") if padded else y)).arena_bytes())
    assert sizes[1] > sizes[0] + 2 * 40 * 40


LOOKUP: list[Geometry] = [
    ((12, 7, 5), (1, 1), (1, 1), (0, 0, 0, 0), (1, 1), 64),
    ((20, 6, 9), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 49),
    ((24, 7, 7), (1, 1), (2, 2), (0, 0, 0, 0), (1, 1), 128),
    ((64, 5, 8), (3, 3), (2, 2), (1, 1, 1, 1), (1, 1), 100),
    ((67, 9, 6), (2, 5), (1, 2), (0, 1, 3, 2), (2, 1), 190),
    ((200, 3, 3), (3, 3), (1, 1), (1, 1, 1, 1), (1, 2), 33),
    ((251, 1, 1), (1, 1), (1, 1), (0, 0, 0, 0), (1, 1), 256),
    ((33, 1, 13), (1, 7), (1, 3), (0, 0, 3, 3), (1, 1), 97),
]


TABLES = {
    **dict.fromkeys(("avx512amx", "avx512vnni"), ((2, 2), (2, 3), (3, 2))),
    **dict.fromkeys(("avx512bw", "avx2"), ((2, 2), (2, 3))),
}
"""Where there is a table of products: bits of weights by bits of activations."""


@pytest.mark.parametrize(("isa", "pair"), [(isa, pair) for isa in ISAS for pair in TABLES.get(isa, ())])
@pytest.mark.parametrize("master", [2, 4, 8])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("layer", LOOKUP)
def test_the_table_of_products(layer: Geometry, signed: bool, master: int, isa: str, pair: tuple[int, int]) -> None:
    shape, kernel, stride, padding, dilation, count = layer
    master = max(master, *pair)
    b = Builder(4, shape, signed=signed, master=master, widths=tuple(w for w in (2, 3, 4, 8) if w <= master))
    x = b.conv(next(iter(b.values)), shape[0], (1, 1), padding=(0, 0, 0, 0))
    y = b.conv(x, count, kernel, stride=stride, padding=padding, dilation=dilation)
    program = b.build(b.binary(Add, b.conv(y, count), y))
    random = inputs(program, 5)
    plan = Plan.of(dict.fromkeys(program.layers, pair))
    for seed, batch in enumerate((random, extremes(program, 5, 1), np.full_like(random, 1e9))):
        for each in (plan, any_plan(program, seed)):
            check(program, each, batch, threads=1 + seed, isa=isa, kernel="lookup")
    assert "lookup" in Runtime(program, isa=isa, kernel="lookup").kernels(random, plan), "no layer took it"


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(
    ("inputs_of", "pair"),
    [(808, (2, 2)), (809, (2, 2)), (812, (2, 2)), (336, (2, 3)), (344, (2, 3)), (344, (3, 2)), (345, (3, 2))],
)
def test_the_largest_sums_of_the_table(inputs_of: int, pair: tuple[int, int], isa: str) -> None:
    """9 * 7281 fits 16 bits: 9 taps of 808 channels are 7272 products, of 812 too many, and 809 are padded to 816; with
    three bits on one side 21 * 3120 does, 9 taps of 346 channels, of which 336 or 344 fill whole codes.
    """
    b = Builder(0, (inputs_of, 3, 3), widths=(2, 3, 8))
    program = b.build(b.conv("v0", 64))
    (conv,) = (op for op in program.ops if isinstance(op, Conv))
    full = replace(conv, weight=np.full_like(conv.weight, 127))
    program = replace(program, ops=tuple(full if op is conv else op for op in program.ops))
    x = np.full((2, inputs_of, 3, 3), 1e9, dtype=np.float32)
    check(program, Plan.of(dict.fromkeys(program.layers, pair)), x, isa=isa, kernel="lookup")


GROUPS: list[dict[str, Any]] = [
    {"count": 64, "stride": (2, 2)},
    {"count": 40, "dilation": (2, 1), "padding": (2, 2, 1, 1)},
    {"count": 64},
    {"count": 100, "kernel": (1, 1), "padding": (0, 0, 0, 0)},
    {"count": 24, "groups": 4},
    {"count": 24, "groups": 24},
]
"""Convolutions of 24 channels: of any kernel, of Winograd, of one tap, in groups, depthwise."""


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("convolution", GROUPS)
def test_samples_of_one_layer_at_every_pair_of_widths(convolution: dict[str, Any], isa: str) -> None:
    """Each width may want another kernel, which must leave to the next what it found."""
    names, several = (None, *KERNELS) if isa in TABLES else (None,), set()
    for choices in itertools.combinations((2, 3, 4, 8), 2):
        b = Builder(6, (3, 6, 5))
        y = b.conv("v0", 24)
        b.control(y, 2, choices)
        y = b.conv(y, **convolution)
        program = b.build(b.linear(b.linear(b.flatten(y), 64), 5), choices=choices)
        x = inputs(program, 9)
        program = divided(program, x)
        expected = execute(program, x, "auto")
        assert np.ptp(expected.widths, axis=0)[1:3].all(), "no layer's samples differ"
        for kernel in names:
            run = Runtime(program, threads=1 + choices[0] % 2, isa=isa, kernel=kernel)
            np.testing.assert_array_equal(run.codes(x, "auto"), expected.codes)
            several.update(run.kernels(x, "auto"))
    if isa in TABLES and "groups" not in convolution:
        assert "several" in several, "no two groups had different kernels"


ENDS: list[tuple[Shape, dict[str, Any]]] = [
    ((12, 9, 7), {"count": 20}),
    ((64, 10, 11), {"count": 64}),
    ((64, 8, 8), {"count": 70, "kernel": (1, 1), "padding": (0, 0, 0, 0)}),
    ((24, 9, 9), {"count": 24, "groups": 24}),
    ((30, 1, 1), {"count": 200, "kernel": (1, 1), "padding": (0, 0, 0, 0)}),
    ((16, 7, 9), {"count": 33, "stride": (2, 2), "padding": (1, 0, 1, 0)}),
    ((16, 30, 31), {"count": 40, "groups": 2}),
]
"""Input shapes and convolutions of every kernel."""


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(("shape", "convolution"), ENDS)
def test_a_table_after_a_convolution(shape: Shape, convolution: dict[str, Any], isa: str) -> None:
    """The convolution does it, at the width of whoever reads it; not where another reads what comes before it."""
    for seed, read_twice in itertools.product(range(2), (False, True)):
        b = Builder(seed, shape, widths=(2, 3, 4, 8))
        y = b.conv(b.conv("v0", shape[0], (1, 1), padding=(0, 0, 0, 0)), **convolution)
        z = b.conv(b.table(y), 40)
        program = b.build(b.binary(Add, b.table(z), z) if read_twice else b.table(z))
        x = np.concatenate([inputs(program, 3, seed), extremes(program, 2)])
        for pair in ((8, 8), (4, 4), (2, 2), (2, 3), (3, 8)):
            check(program, Plan.of(dict.fromkeys(program.layers, pair)), x, threads=1 + seed, isa=isa)
        check(program, any_plan(program, seed), x, threads=3, isa=isa)


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("channels", [5, 64, 70, 130])
def test_a_number_for_each_channel_multiplies_an_image(channels: int, order: int) -> None:
    """Squeeze-and-excitation, whichever operand is the gate."""
    for seed in range(4):
        b = Builder(seed, (3, 7, 5), signed=bool(seed % 2))
        image = b.conv("v0", channels)
        gate = b.table(b.conv(b.avg_pool(image, (1, 1)), channels, (1, 1), padding=(0, 0, 0, 0)))
        program = b.build(b.conv(b.binary(Multiply, *((image, gate), (gate, image))[order]), 4))
        x = np.concatenate([inputs(program, 2, seed), extremes(program, 2)])
        check(program, any_plan(program, seed), x, threads=1 + seed % 2)


@pytest.mark.parametrize("auto", [False, True])
def test_a_file_goes_straight_to_the_engine(auto: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = replace(random_program(4, auto=auto), info={"mean": [0.5], "labels": {"a": [1, None]}})
    path = tmp_path / "net.dqt"
    program.save(path)
    x = inputs(program, 3)
    plan: PlanLike = "auto" if auto else None
    want = execute(program, x, plan)
    with monkeypatch.context() as patch:
        patch.setattr("dqt.program.program.parts_of", pytest.fail)
        patch.setattr(verify, "verify", pytest.fail)
        got = Runtime(str(path)).execute(x, plan)
    np.testing.assert_array_equal(got.codes, want.codes)
    np.testing.assert_array_equal(got.widths, want.widths)
    signature, digest = file.outline(path.read_bytes())
    assert signature == Signature.of(program)
    assert digest in path.read_text(errors="replace")


def test_a_bad_file_is_a_program_error_with_its_path(tmp_path: Path) -> None:
    path = tmp_path / "net.dqt"
    random_program(4).save(path)
    data = path.read_bytes()
    damaged = {"bytes": b"no file", "cut": data[:-1], "changed": data[:-1] + bytes([data[-1] ^ 1]), "empty": b""}
    damaged |= {"version": data.replace(b'"version":"2"', b'"version":"9"')}
    for name, bad in damaged.items():
        path.write_bytes(bad)
        with pytest.raises(ProgramError, match=rf"^{re.escape(str(path))}: "):
            pytest.fail(f"{name}: {Runtime(path)}")
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"net\.dqt"):
        Runtime(path)


def test_a_program_of_a_path_is_not_kept(tmp_path: Path) -> None:
    program = random_program(0)
    program.save(tmp_path / "net.dqt")
    x = inputs(program, 2)
    kept, read = Runtime(program), Runtime(tmp_path / "net.dqt")
    assert kept.program is program
    assert read.program.space == program.space
    (tmp_path / "net.dqt").unlink()
    np.testing.assert_array_equal(read(x, 2), kept(x, 2))


@pytest.mark.parametrize("plan", [8, "auto", Cascade((2, 8), (1 << 22,))])
def test_the_widths_come_back_with_the_result(plan: PlanLike) -> None:
    program = Program.load(example())
    x = np.random.default_rng(0).normal(size=(5, *program.input_shape)).astype(np.float32)
    run, expected = Runtime(program, threads=1), execute(program, x, plan)
    y, widths = run(x, plan, return_widths=True)
    np.testing.assert_array_equal(y, interpret(program, x, plan))
    np.testing.assert_array_equal(widths, expected.widths)
