"""Other engines get the program's own network: the arithmetic of what they are given, and what they answer."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from dqt.export.packages import ExportError
from dqt.export.qdq.model import qdq_model
from dqt.export.reals import instructions, layer_of, layer_of_rescale, windows_of
from dqt.program.interpret import execute, interpret
from dqt.program.layered import Layered
from dqt.program.ops.add import Add
from dqt.program.ops.conv import Conv
from dqt.program.ops.linear import Linear
from dqt.program.program import Program
from dqt.runtime.bench import ROUNDS, bench, turns
from dqt.runtime.peers import PEERS, PeerError, bind
from dqt.testing import Builder, inputs

MODULES = {"onnxruntime": ("onnx", "onnxruntime"), "openvino": ("onnx", "openvino")}


class Whole(Builder):
    """A builder whose outputs use the whole range, as those of ``lower`` do; other engines know no other."""

    def clamp(self, integers: bool | tuple[int, int] = False) -> dict[str, Any]:
        return super().clamp(integers=integers) if integers else {"lo": 0, "hi": self.top}

    def unit_average(self, x: str) -> str:
        """The mean of each channel, with the scale of ``x``."""
        name = self.avg_pool(x)
        op: Any = self.ops[-1]
        shift = 24
        m = np.array([[round(2**shift / np.prod(self.values[x].shape[1:]))]], dtype=np.int32)
        zero = self.values[x].zero
        self.values[name] = replace(self.values[name], scale=self.values[x].scale, zero=zero)
        c = np.array([[(zero << shift) + (1 << (shift - 1))]], dtype=np.int64)
        self.ops[-1] = replace(op, m=m, c=c, shift=shift)
        return name


def residual(seed: int, *, signed: bool = False) -> Program:
    """A small residual network with every kind of geometry that real ones have."""
    b = Whole(seed, (3, 12, 12), signed=signed)
    x = b.conv("v0", 16, (3, 3), stride=(2, 2))
    x = b.max_pool(x, (3, 3), (1, 1), (1, 1, 1, 1))
    y = b.conv(b.conv(x, 16, (3, 3), groups=16), 16, (1, 1), padding=(0, 0, 0, 0))
    x = b.binary(Add, x, y)
    y = b.conv(x, 24, (3, 3), stride=(2, 2))
    z = b.pad(b.slice(x, (0, 0, 0), (16, 6, 6), (1, 2, 2)), (4, 0, 0), (4, 0, 0))
    x = b.rescale(b.binary(Add, y, z))
    x = b.flatten(b.unit_average(x))
    return b.build(b.linear(x, 10, integers=True))


def real(program: Program, name: str, values: Any) -> npt.NDArray[np.float64]:
    value = next(v for v in program.values if v.name == name)
    return np.asarray(value.scale * (values[name].astype(np.float64) - value.zero))


@pytest.mark.parametrize("seed", range(6))
def test_the_recovered_layer_is_the_layer(seed: int) -> None:
    """A linear layer in real numbers, rounded and clamped by hand, is at most a step away from the program's code."""
    b = Whole(seed, (40,), signed=bool(seed % 2))
    program = b.build(b.linear(b.linear("v0", 30), 5))
    ops, values = instructions(program)
    kept = execute(program, inputs(program, 50), 8, keep=True).values
    assert kept is not None
    for op in ops:
        if isinstance(op, Linear):
            layer, source, out = layer_of(op, program, values), values[op.x], values[op.out]
            acc = (kept[op.x].astype(np.int64) - source.zero) @ layer.weight.T.astype(np.int64) + layer.bias
            y = np.clip(np.rint(acc * layer.scale * (source.scale / out.scale)) + out.zero, 0, 255)
            assert np.abs(y - kept[op.out]).max() <= 1
            assert (y != kept[op.out]).mean() < 0.05


def test_a_rescaling_is_a_layer_of_one_tap() -> None:
    b = Whole(3, (4, 5, 5), signed=True)
    program = b.build(b.rescale("v0"))
    ops, values = instructions(program)
    kept: Any = execute(program, inputs(program, 4), 8, keep=True).values
    op: Any = ops[1]
    layer, source, out = layer_of_rescale(op, values), values[op.x], values[op.out]
    acc = (kept[op.x].astype(np.int64) - source.zero) * layer.weight.reshape(-1, 1, 1) + layer.bias.reshape(-1, 1, 1)
    y = np.clip(np.rint(acc * layer.scale.reshape(-1, 1, 1) * (source.scale / out.scale)) + out.zero, 0, 255)
    assert np.abs(y - kept[op.out]).max() <= 1


def test_a_dead_channel_keeps_its_bias() -> None:
    b = Whole(0, (4, 5, 5))
    program = b.build(b.conv("v0", 3))
    conv: Any = program.ops[1]
    m, c = conv.m.copy(), conv.c.copy()
    m[:, 0] = 0
    c[:, 0] += 40 << conv.shift
    ops = tuple(replace(conv, m=m, c=c) if isinstance(op, Conv) else op for op in program.ops)
    changed = replace(program, ops=ops)
    values = {v.name: v for v in changed.values}
    layer = layer_of(ops[1], changed, values)  # type: ignore[arg-type]
    assert not layer.weight[0].any()
    bias = int(layer.bias[0]) * float(layer.scale[0]) * values[conv.x].scale
    y, out = interpret(changed, inputs(changed, 1), 8)[0, 0], values[conv.out]
    np.testing.assert_allclose(y, np.clip(bias, -out.zero * out.scale, (255 - out.zero) * out.scale), atol=out.scale)


def halved(program: Program) -> Program:
    """With weights of 7 bits, whose products saturate on no processor."""
    ops = (replace(op, weight=op.weight >> 1) if isinstance(op, Layered) else op for op in program.ops)
    return replace(program, ops=tuple(ops))


def test_onnxruntime_saturates_on_no_processor() -> None:
    program = residual(0)
    x = inputs(program, 3)
    ours = interpret(program, x, 8)
    theirs = bind(PEERS, "onnxruntime", program, x, ours, 1)()
    assert np.abs(theirs - ours).mean() < 0.01 * np.abs(ours).max()


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("batch", [1, 3])
def test_peers_answer_as_the_program_does(name: str, seed: int, batch: int) -> None:
    for module in MODULES[name]:
        pytest.importorskip(module)
    program = halved(residual(seed, signed=bool(seed)))
    x = inputs(program, batch)
    ours = interpret(program, x, 8)
    theirs = bind(PEERS, name, program, x, ours, 1)()
    assert theirs.shape == ours.shape
    assert np.abs(theirs - ours).mean() < 0.03 * np.abs(ours).max()


def test_the_onnx_model_computes_what_the_program_computes() -> None:
    """By onnx's own reference evaluator: no engine's kernels are involved."""
    onnx, reference = pytest.importorskip("onnx"), pytest.importorskip("onnx.reference")
    program = residual(2)
    x = inputs(program, 2)
    (theirs,) = reference.ReferenceEvaluator(onnx.load_from_string(qdq_model(program, 2))).run(None, {"input": x})
    ours = interpret(program, x, 8)
    assert np.abs(theirs - ours).mean() < 0.02 * np.abs(ours).max()


def narrow_range() -> Program:
    b = Whole(0, (4,))
    program = b.build(b.linear("v0", 3))
    ops = tuple(replace(op, hi=254) if isinstance(op, Linear) else op for op in program.ops)
    return replace(program, ops=ops)


def of_four_bits() -> Program:
    b = Whole(0, (4,), master=4, widths=(2, 4))
    return b.build(b.linear("v0", 3))


@pytest.mark.parametrize(
    ("make", "part"),
    [
        (narrow_range, r"Linear 'block.0' cannot be given to another engine: its range \[0, 254\]"),
        (of_four_bits, "the master of this program has 4"),
    ],
)
def test_what_has_no_counterpart_is_said(make: Callable[[], Program], part: str) -> None:
    program = make()
    with pytest.raises(ExportError, match=part):
        instructions(program)


def test_windows_without_a_counterpart_are_said() -> None:
    b = Whole(0, (2, 5, 5))
    program = b.build(b.avg_pool("v0", (2, 2)))
    op: Any = program.ops[1]
    with pytest.raises(ExportError, match="AvgPool 'v1' cannot be given"):
        windows_of(op, {v.name: v for v in program.values})


def test_a_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    program = residual(0)
    x = inputs(program, 1)
    for name in ("onnxruntime", "openvino"):
        monkeypatch.setitem(sys.modules, PEERS[name].module, None)
        with pytest.raises(ExportError, match=f"pip install {name}"):
            bind(PEERS, name, program, x, interpret(program, x), 1)
    with pytest.raises(PeerError, match="no engine is called 'tvm': choose among onnxruntime"):
        bind(PEERS, "tvm", program, x, x, 1)


def test_a_report_has_a_row_for_each_contestant() -> None:
    program = residual(0)
    done: list[int] = []
    report = bench(program, plans={"8": 8, "2": 2}, batches=(1, 2), seconds=0.0, advance=done.append, isa="portable")
    assert [(row.engine, row.bits, row.batch) for row in report.rows] == [
        ("dqt", "8", 1), ("dqt", "2", 1), ("dqt", "8", 2), ("dqt", "2", 2),
    ]  # fmt: skip
    assert sum(done) == turns(2, 2, 0)
    assert report.isa == "portable"
    for row in report.rows:
        assert row.ms.p10 <= row.ms.median <= row.ms.p90
        assert row.images_per_second == pytest.approx(1e3 * row.batch / row.ms.median, rel=1e-2)
    assert report.rows[0].ratio.median == 1.0


def test_a_width_that_is_not_faster_than_the_next_wider_one_is_told() -> None:
    program = residual(0)
    # milliseconds of a call by round: 4 bits are always faster than 8, 3 never faster than 4, and 2 now and then
    times = [[8, 4, 4.5, 4], [8, 5, 5, 5.5]] * (ROUNDS // 2)
    ticks = iter([tick for one in times for ms in one for tick in (0.0, ms / 1e3)])
    report = bench(
        program, plans={"8": 8, "4": 4, "3": 3, "2": 2}, seconds=0.0, isa="portable", clock=lambda: next(ticks)
    )
    assert [(step.bits, step.wider, step.batch, step.faster) for step in report.steps] == [
        (4, 8, 1, "yes"), (3, 4, 1, "no"), (2, 3, 1, "within the noise"),
    ]  # fmt: skip
    assert report.steps[0].ratio.median == pytest.approx((4 / 8 + 5 / 8) / 2, abs=1e-4)
    assert report.as_dict()["steps"][1]["ratio"]["p10"] == 1.0
