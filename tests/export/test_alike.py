"""Numbers of float32 that round sums as a program does: found where they exist, right for every sum, else refused."""

from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from torch import nn

import dqt
from dqt.arith.bounds import Bound
from dqt.arith.fixed import SHIFT, multiplier, offset, requantize
from dqt.arith.ratio import code_constants
from dqt.export.alike import NOTHING, Numbers, numbers
from dqt.export.file import integer_model
from dqt.program.ops.conv import Conv
from dqt.testing import Builder, extremes
from tests.export.test_onnx import LEVELS, assert_equal, defined, fed, nodes_of, served


def bound(reach: int, count: int) -> Bound:
    return Bound(np.full(count, -reach), np.full(count, reach))


def rounded(found: Numbers, acc: Any, zero: int, lo: int, hi: int, kind: str) -> Any:
    """``[O, sums]``, in the order of an engine."""
    n = (acc + found.bias[:, None].astype(np.int64)).astype(kind)
    return (np.rint(n * found.scale[:, None].astype(kind)).astype(np.int64) + zero).clip(lo, hi)


@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize(("zero", "lo", "hi"), [(0, 0, 255), (128, 0, 255), (77, 0, 255), (0, 0, 200), (8, 0, 15)])
def test_every_sum_of_a_layer(zero: int, lo: int, hi: int, kind: str) -> None:
    rng = np.random.default_rng(zero + hi)
    scale = np.exp(rng.uniform(np.log(3e-4), np.log(0.12), 60)) * rng.choice([1, -1], 60)
    scale[:4] = [0, 1e-12, 3e-8, -3e-8]  # dead, or all but dead
    bias = np.clip(rng.normal(size=60) * 60, -zero, 254 - zero)
    bias[:4] = [2, -20, 0.1, 0.2]
    m, c = code_constants(scale, bias, SHIFT, zero, lo, hi)
    reach = 200_000
    found = numbers(m.astype(np.int64), c, bound(reach, 60), SHIFT, zero, lo, hi)
    assert found is not None
    assert [str(part.dtype) for part in (found.scale, found.bias)] == ["float32", "int32"]
    acc = np.arange(-reach, reach + 1)
    wanted = requantize(acc, m.astype(np.int64)[:, None], c[:, None], SHIFT, lo, hi)
    assert np.array_equal(rounded(found, acc, zero, lo, hi, kind), wanted)


def test_a_result_that_is_the_zero_point_needs_no_multiplier() -> None:
    found = numbers(np.array([0]), np.array([1 << 31]), bound(10**9, 1), SHIFT, 0, 0, 255)
    assert found is not None
    assert found.scale.tolist() == [NOTHING]
    assert found.bias.tolist() == [0]


@pytest.mark.parametrize(
    ("m", "c", "reach", "zero"),
    [
        (int(multiplier([0.0123], SHIFT)[0]), int(offset([0.3], 0, SHIFT)[0]), 10**6, 0),  # a bias of no whole sum
        (1 << 31, (1 << 31) + (128 << 32), 10**6, 128),  # ties of both signs, which are rounded up here
        (*(int(part[0]) for part in code_constants([0.01], [7], SHIFT, -1, 0, 255)), 10**6, -1),  # no zero of uint8
        (0, (200 << SHIFT) + (1 << 31), 2**31 - 1, 0),  # one code, but sums of all sizes
        (0, (200 << SHIFT) + (1 << 31), 2**29, 0),
    ],
)  # fmt: skip
def test_what_has_no_numbers(m: int, c: int, reach: int, zero: int) -> None:
    assert numbers(np.array([m]), np.array([c]), bound(reach, 1), SHIFT, zero, 0, 255) is None


def test_one_wrong_channel_is_enough() -> None:
    m, c = code_constants([0.01, 0.02], [7, 3], SHIFT, 0, 0, 255)
    assert numbers(m.astype(np.int64), c, bound(10**5, 2), SHIFT, 0, 0, 255) is not None
    assert numbers(m.astype(np.int64), c + np.array([0, 1]), bound(10**5, 2), SHIFT, 0, 0, 255) is None


@pytest.mark.parametrize("seed", range(12))
def test_convolutions_round_in_one_operator(seed: int) -> None:
    """Groups, strides, asymmetric padding, every width; the other form of what is refused is beside it."""
    b = Builder(seed, (8, 9, 7))
    x = b.conv("v0", 8, groups=8)
    x = b.conv(x, 12, (3, 2), padding=(1, 0, 2, 1), groups=4)
    program = b.build(b.linear(b.flatten(b.conv(x, 6, (1, 1), stride=(2, 1))), 4))
    kinds: set[str] = set()
    for plan in program.space.widths:
        model = integer_model(program, plan)
        kinds |= {node.op_type for node in nodes_of(onnx.load_from_string(model).graph)}
        x_in = extremes(program, 3, seed)
        for level in LEVELS:
            assert_equal(served(model, fed(program, x_in), level), defined(program, x_in, plan))
    used = any(getattr(op, "shift", 0) == SHIFT for op in program.ops if isinstance(op, Conv))
    assert ("QLinearConv" in kinds) == used


def test_a_lowered_network_has_no_other_convolution() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.ReLU6(),
        nn.Conv2d(16, 24, 1), nn.Flatten(), nn.Linear(24 * 81, 5),
    )  # fmt: skip
    x = torch.randn(8, 3, 9, 9)
    program = dqt.lower(dqt.calibrate(dqt.prepare(model.eval(), x[:2]), [x]))
    for plan in program.space.widths:
        model_of = integer_model(program, plan)
        used = [node.op_type for node in nodes_of(onnx.load_from_string(model_of).graph)]
        assert used.count("QLinearConv") == 3
        assert not {"ConvInteger", "Conv"} & set(used)
        given = fed(program, x.numpy())
        wanted = defined(program, x.numpy(), plan)
        for level in LEVELS:
            assert_equal(served(model_of, given, level), wanted)
        found: Any = ReferenceEvaluator(onnx.load_from_string(model_of)).run(list(wanted), given)
        assert_equal(dict(zip(wanted, found, strict=True)), wanted)
