"""The interpreter against Python integers, element by element; equality only."""

from __future__ import annotations

from itertools import count
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import dqt
from dqt.arith.cascade import Cascade
from dqt.arith.plan import Plan, PlanError, PlanLike, resolve
from dqt.program import arrays, passes
from dqt.program.interpret import InputError, execute, interpret, margins
from dqt.program.ops.add import Add
from dqt.program.ops.conv import Conv
from dqt.program.ops.linear import Linear
from dqt.program.ops.multiply import Multiply
from dqt.program.program import Program
from dqt.testing import Builder, Shape, inputs, random_program
from tests.program.naive import Naive


def check(program: Program, plan: PlanLike, count: int = 3) -> None:
    """Every value of every sample equals the naive executor's, and so do the widths."""
    x = inputs(program, count)
    result = execute(program, x, plan, keep=True)
    fixed = resolve(program.space, plan)
    for i in range(count):
        data, widths = Naive(program).run(x[i], dict(fixed.items_) if isinstance(fixed, Plan) else None)
        for name, value in result.values.items():
            got = {index: int(value[(i, *index)]) for index in np.ndindex(*value.shape[1:])}
            assert got == data[name], (name, i)
        assert tuple(result.widths[i]) == tuple(min(widths[name]) for name in program.layers)


@pytest.mark.parametrize("seed", range(60))
def test_random_programs_equal_python_integers(seed: int) -> None:
    program = random_program(seed, auto=seed % 2 == 1)
    rng = np.random.default_rng(seed)
    pairs = {name: tuple(int(b) for b in rng.choice(program.space.widths, 2)) for name in program.layers}
    plans: list[PlanLike] = [None, program.space.widths[0], pairs]
    for plan in [*plans, "auto"] if program.choose else plans:
        check(program, plan)


# geometry: kernel, stride, padding, dilation, groups on 4 channels of 7 x 5 (a prime on either side)
GEOMETRY = [
    ((1, 1), (1, 1), (0, 0, 0, 0), (1, 1), 1),
    ((3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 4),  # depthwise: the midpoint follows the tap
    ((3, 2), (2, 3), (0, 2, 1, 0), (1, 1), 2),  # asymmetric padding
    ((2, 3), (1, 2), (3, 0, 0, 4), (3, 2), 1),  # more padding than the kernel's taps, dilation
    ((7, 5), (1, 1), (0, 0, 0, 0), (1, 1), 1),  # one window
    ((1, 1), (9, 9), (0, 0, 0, 0), (1, 1), 2),  # a stride beyond the input
]


@pytest.mark.parametrize(("kernel", "stride", "padding", "dilation", "groups"), GEOMETRY)
@pytest.mark.parametrize("signed", [False, True])
def test_convolution(kernel: Shape, stride: Shape, padding: Shape, dilation: Shape, groups: int, signed: bool) -> None:
    b = Builder(3, (4, 7, 5), signed=signed)
    x = b.conv("v0", 8, kernel, stride=stride, padding=padding, dilation=dilation, groups=groups)
    program = b.build(x)
    for plan in (8, {"block.0": (3, 4)}, {"block.0": (8, 2)}, {"block.0": (2, 8)}):
        check(program, plan)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 11), (5, 1, 1), (1, 13, 1)])
def test_one_pixel_one_channel_and_prime_sizes(shape: Shape) -> None:
    b = Builder(4, shape)
    program = b.build(b.conv(b.conv("v0", 3), 2, integers=True))
    check(program, 2)
    check(program, 8)


def test_linear_over_the_last_dimension() -> None:
    b = Builder(5, (3, 2, 7), signed=True)
    check(b.build(b.linear(b.linear("v0", 4), 3, integers=True)), {"block.0": (2, 3), "block.1": (4, 8)})


@pytest.mark.parametrize("kind", [Add, Multiply])
@pytest.mark.parametrize(("left", "right"), [((3, 7, 5), (3, 1, 1)), ((1, 7, 1), (3, 1, 5)), ((5,), (3, 7, 5))])
def test_add_and_multiply_broadcast(kind: type[Add | Multiply], left: Shape, right: Shape) -> None:
    b = Builder(6, (3, 7, 5))
    ends = [b.slice("v0", (0,) * 3, (*(1,) * (3 - len(shape)), *shape), (1,) * 3) for shape in (left, right)]
    ends = [b.reshape(x, shape) for x, shape in zip(ends, (left, right), strict=True)]
    check(b.build(b.binary(kind, *ends)), 8)


def test_an_operand_may_be_both_operands() -> None:
    b = Builder(7, (2, 3, 3))
    check(b.build(b.binary(Multiply, "v0", b.binary(Add, "v0", "v0"))), 8)


@pytest.mark.parametrize("seed", range(6))
def test_instructions_without_weights(seed: int) -> None:
    b = Builder(
        seed, (3, 7, 5), master=(8, 8, 8, 5, 3, 2)[seed], widths=(2, (8, 8, 8, 5, 3, 2)[seed])[-1:], signed=True
    )
    x = b.rescale(b.table("v0"))
    x = b.pad(b.slice(x, (1, 0, 2), (3, 7, 5), (1, 3, 2)), (0, 2, 1), (1, 0, 3))
    x = b.concat([x, b.pad(x, (0, 0, 0), (0, 1, 0))], 1)
    x = b.max_pool(x, (2, 3), (2, 1), (1, 0, 2, 1), (2, 1))
    x = b.avg_pool(b.rescale(x), b.values[x].shape[1:])
    check(b.build(b.flatten(b.avg_pool(x))), None)


def test_a_max_pool_window_of_padding_and_the_smallest_code() -> None:
    b = Builder(8, (1, 2, 2))
    program = b.build(b.max_pool("v0", (2, 2), (1, 1), (1, 1, 1, 1)))
    assert_array_equal(execute(program, np.full((1, 1, 2, 2), -9.0)).codes, np.zeros((1, 1, 3, 3)))


def test_auto_gives_each_sample_what_it_gets_alone() -> None:
    mixed = 0
    for seed in range(1, 60, 2):
        program = random_program(seed, auto=True)
        x = inputs(program, 9, seed)
        together = execute(program, x, "auto")
        mixed += len(np.unique(together.widths, axis=0)) > 1
        for i in range(len(x)):
            alone = execute(program, x[i : i + 1], "auto")
            assert_array_equal(alone.codes[0], together.codes[i])
            assert_array_equal(alone.widths[0], together.widths[i])
            as_plan = dict(zip(program.layers, (int(b) for b in together.widths[i]), strict=True))
            assert_array_equal(execute(program, x[i : i + 1], as_plan).codes[0], together.codes[i])
    assert mixed >= 8  # batches that do mix widths


def test_a_plan_skips_the_controller() -> None:
    program = random_program(1, auto=True)
    x = inputs(program, 2)
    own = {op.out for op in program.ops if isinstance(op, Linear) and op.layer.startswith("policy")}
    assert own
    assert not own & set(execute(program, x, 8, keep=True).values)
    assert own <= set(execute(program, x, "auto", keep=True).values)


def test_the_result_does_not_depend_on_slices_blocks_or_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    program = next(p for p in (random_program(seed, auto=True) for seed in count(16)) if len(p.values[-1].shape) == 1)
    x = inputs(program, 11)
    plans: tuple[PlanLike, ...] = (None, "auto", Cascade(program.space.widths[-2:], (7000,)))
    whole = [execute(program, x, plan, keep=True) for plan in plans]
    for samples, block, cores in ((1, 1, 1), (3, 40, 2), (4, 1 << 20, 5)):
        monkeypatch.setattr(passes, "SLICE_SAMPLES", samples)
        monkeypatch.setattr(arrays, "BLOCK", block)
        monkeypatch.setattr(passes, "cores", lambda n=cores: n)
        for plan, expected in zip(plans, whole, strict=True):
            got = execute(program, x, plan, keep=True)
            for name in ("codes", "widths", "passes"):
                assert_array_equal(getattr(got, name), getattr(expected, name))
            for name, value in expected.values.items():
                assert_array_equal(got.values[name], value)


def test_a_product_beyond_float32_is_exact() -> None:
    b = Builder(9, (1200, 1, 1))
    x = b.conv("v0", 2, (1, 1), padding=(0, 0, 0, 0), integers=True)
    op = b.ops[-1]
    assert isinstance(op, Conv)
    op.weight[:] = 127
    op.weight[1, ::2] = -127  # a difference of two large sums
    program = b.build(x)
    codes = np.full((1, 1200, 1, 1), 255)
    codes[0, 0] = 254
    acc = np.array([127 * (255 * 1200 - 1), 127])  # the first is odd and above 2^24: float32 cannot hold it
    assert acc[0] > 2**24
    k = program.ops[1]
    assert isinstance(k, Conv)
    expected = ((acc * k.m[-1].astype(object) + k.c[-1]) >> k.shift).clip(k.lo, k.hi)
    got = execute(program, (codes * program.values[0].scale).astype(np.float32)).codes[0, :, 0, 0]
    assert [int(v) for v in got] == [int(v) for v in expected]


def test_dequantized_once() -> None:
    program = random_program(2)
    x = inputs(program, 4)
    out = program.values[-1]
    expected = (execute(program, x).codes - out.zero).astype(np.float32) * np.float32(out.scale)
    got = interpret(program, x)
    assert got.dtype == np.float32
    assert_array_equal(got, expected)
    assert_array_equal(program(x), expected)


def test_codes_are_freed_when_nothing_reads_them_and_kept_on_request() -> None:
    program = random_program(2)
    assert execute(program, inputs(program, 1)).values == {}
    kept = execute(program, inputs(program, 1), keep=True).values
    assert set(kept) == {value.name for value in program.values}
    wide = {value.name for value in program.values if not value.coded}
    assert all(value.dtype == (np.int32 if name in wide else np.uint8) for name, value in kept.items())


def classifier() -> Program:
    b = Builder(10, (2, 4, 4))
    x = b.conv(b.conv("v0", 4), 4)
    return b.build(b.linear(b.flatten(x), 4, integers=True))


def test_a_cascade_runs_unsure_samples_again() -> None:
    program = classifier()
    x = inputs(program, 20)
    by_width = {b: execute(program, x, b) for b in (2, 4, 8)}
    first, second = (margins(by_width[b].codes) for b in (2, 4))
    cascade = Cascade((2, 4, 8), (int(np.median(first)), int(np.median(second))))
    result = execute(program, x, cascade)
    assert set(result.passes) == {1, 2, 3}
    for i in range(20):
        b = 2 if first[i] > cascade.margins[0] else 4 if second[i] > cascade.margins[1] else 8
        assert_array_equal(result.codes[i], by_width[b].codes[i])
        assert_array_equal(result.widths[i], by_width[b].widths[i])
        assert result.passes[i] == (2, 4, 8).index(b) + 1


def test_a_margin_equal_to_the_threshold_runs_again() -> None:
    program = classifier()
    x = inputs(program, 1)
    margin = int(margins(execute(program, x, 2).codes)[0])
    assert execute(program, x, Cascade((2, 8), (margin,))).passes[0] == 2
    assert execute(program, x, Cascade((2, 8), (margin - 1,))).passes[0] == 1


def test_a_cascade_needs_a_vector_of_classes() -> None:
    b = Builder(11)
    program = b.build(b.conv("v0", 2, integers=True))
    with pytest.raises(PlanError, match=r"two best outputs.*\[1, 2, 7, 5\]"):
        execute(program, inputs(program, 1), Cascade((2, 8), (5,)))


GOOD = np.zeros((2, 2, 4, 4), dtype=np.float32)
NAN, INF = GOOD.copy(), GOOD.astype(np.float64)
NAN[1, 0, 0, 0], INF[0, 1, 2, 3] = np.nan, 1e300  # finite in float64, not in float32


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (GOOD[0], r"no batch dimension.*\[N, 2, 4, 4\].*x\[None\]"),
        (GOOD[:, :1], r"shape \[2, 1, 4, 4\]: this program takes \[N, 2, 4, 4\]"),
        (GOOD[None], r"shape \[1, 2, 2, 4, 4\]"),
        (np.float32(1), r"shape \[\]"),
        (GOOD[:0], "empty batch"),
        (NAN, "sample 1 .* NaN"),
        (INF, "sample 0 .* beyond float32"),
        (np.full_like(GOOD, -np.inf), "sample 0"),
        (GOOD.astype(np.complex64), "dtype complex64"),
        (GOOD.astype(object), "dtype object"),
        (GOOD.astype(bool), "dtype bool"),
        (GOOD.astype(str), "dtype <U"),
        ([[1.0], [1.0, 2.0]], "not an array of numbers"),
        (None, "dtype object"),
    ],
)
def test_bad_input_is_one_clear_error(x: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        execute(classifier(), x)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int8, np.uint16, np.int64])
def test_real_dtypes_are_taken(dtype: Any) -> None:
    x = np.arange(64).reshape(2, 2, 4, 4).astype(dtype)
    assert_array_equal(execute(classifier(), x).codes, execute(classifier(), x.astype(np.float32)).codes)


def test_a_tensor_that_wants_gradients_is_taken() -> None:
    torch = pytest.importorskip("torch")
    x = torch.linspace(-1, 1, 64).reshape(2, 2, 4, 4).requires_grad_()
    assert_array_equal(execute(classifier(), x).codes, execute(classifier(), x.detach().numpy()).codes)
    brief = x.detach().to(torch.bfloat16)
    assert_array_equal(execute(classifier(), brief).codes, execute(classifier(), brief.float().numpy()).codes)
    with pytest.raises(InputError, match="not an array"):
        execute(classifier(), x.detach().to_sparse())


def test_the_input_saturates_without_a_warning() -> None:
    program = Builder(12, (1, 1, 2)).build("v0")
    assert_array_equal(execute(program, np.array([[[[3e38, -3e38]]]])).codes, [[[[255, 0]]]])


def test_integers_of_a_file_are_those_of_its_program() -> None:
    program = Program.load(dqt.example())
    x = inputs(program, 2)
    assert_array_equal(execute(dqt.example(), x, 4).codes, execute(program, x, 4).codes)
