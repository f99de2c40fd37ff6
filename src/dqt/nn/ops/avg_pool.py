"""Average pooling in one to three dimensions: windows, and adaptive windows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch.nn.functional as F
from torch import Tensor, fx

from dqt.arith import fixed
from dqt.nn.chain import Chain
from dqt.nn.graph import Node
from dqt.nn.integers import Codes, Floats
from dqt.nn.moves import images, reshaped
from dqt.nn.operator import Operator
from dqt.nn.ops.mean import append_mean
from dqt.nn.ranges import Signal
from dqt.nn.run import Run
from dqt.nn.window import geometry
from dqt.program.ops.avg_pool import AvgPool

if TYPE_CHECKING:
    from dqt.nn.capture import Builder
    from dqt.nn.emission import Emission
    from dqt.nn.net import Net

Ranges = npt.NDArray[np.int32]


def _avg_pool(b: Builder, call: fx.Node) -> str:
    x, shape = images(b, call)
    dims = len(shape) - 1
    kernel = geometry(call.args[1], dims)
    attrs = {
        "kernel": kernel,
        "stride": geometry(b.arg(call, 2, "stride") or kernel, dims),
        "padding": geometry(b.arg(call, 3, "padding", 0), dims),
        "ceil": bool(b.arg(call, 4, "ceil_mode", False)),
        "count_padding": bool(b.arg(call, 5, "count_include_pad", True)),
        "divisor": b.arg(call, 6, "divisor_override"),
    }
    return reshaped(b, call, b.add(call, "avg_pool", [x], attrs=attrs, shape=shape), b.shape(call))


def _adaptive_pool(b: Builder, call: fx.Node) -> str:
    """In three dimensions into one element, a mean."""
    x, shape = images(b, call)
    attrs: dict[str, Any] = {"adaptive": shape[1:]}
    kind = "avg_pool"
    if shape[1:] == (1, 1, 1):
        kind, attrs = "mean", {"axes": (1, 2, 3), "divides": True}
    return reshaped(b, call, b.add(call, kind, [x], attrs=attrs, shape=shape), b.shape(call))


def _fake(net: Net, node: Node, ins: Sequence[Signal], run: Run) -> Signal:
    x, quantizer = ins[0].master, net.quantizer(node)
    exact = quantizer is None and run.mirrors  # float32 loses an int32's last bits
    return Signal(_average(x.double() if exact else x, node), quantizer, run.quantized)


def _average(x: Tensor, node: Node) -> Tensor:
    a, dims = node.attrs, len(node.shape) - 1
    if "adaptive" in a:
        adaptive: Any = (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d)[dims - 1]
        return adaptive(x, a["adaptive"])
    pool: Any = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[dims - 1]
    divisor = (a["divisor"],) if dims > 1 else ()
    return pool(x, a["kernel"], a["stride"], a["padding"], a["ceil"], a["count_padding"], *divisor)


def _emit(e: Emission, node: Node) -> None:
    whole = set(node.attrs.get("adaptive", ())) == {1}
    if whole and (e.net.inputs.dims or e.net.quantizer(node) is None):  # the same integers at fixed and named sizes
        axes = tuple(range(1, len(node.shape)))
        append_mean(e, node, e.result_codes(node, e.reach(node)), axes, divides=True)
        return
    source = e.codes(node.ins[0])
    windows = [_windows(node, axis, length) for axis, length in enumerate(e.net.shapes[node.ins[0]][1:])]
    ranges, counts = [each[0] for each in windows], [each[1] for each in windows]
    if len(windows) == 3:
        _emit_3d(e, node, ranges, counts)
        return
    if len(windows) == 1:
        ranges, counts = [np.array([[0, 1]], dtype=np.int32), *ranges], [np.ones(1), *counts]
    count = _count(node, np.multiply.outer(*counts))
    codes = e.result_codes(node, e.reach(node) * float(np.max(np.multiply.outer(*_lengths(ranges)) / count)))
    k = _constants(source, codes, count)
    x, out, flatten = e.image(node, codes)
    e.append(AvgPool(x, out, ranges[0], ranges[1], *k, codes.lo, codes.hi))
    flatten()


def _emit_3d(e: Emission, node: Node, ranges: Sequence[Ranges], counts: Sequence[Floats]) -> None:
    """Sums over height and width, exact, then over depth: one rounding."""
    channels, depth, height, width = e.net.shapes[node.ins[0]]
    count = _count(node, np.outer(counts[0], np.outer(counts[1], counts[2])))
    first, *others = _lengths(ranges)
    areas = np.outer(*others)
    source, codes = (
        e.codes(node.ins[0]),
        e.result_codes(node, e.reach(node) * float(np.max(np.outer(first, areas) / count))),
    )
    area = int(areas.max())
    sums = Codes(source.scale, 0, min(-1, area * (source.lo - source.zero)), area * (source.hi - source.zero))
    image = Chain((channels, depth, height, width)).reshape(channels * depth, height, width)
    x = image.emit(e, e.source(node), e.fresh(f"{node.out}.images"))
    flat = e.define(e.fresh(f"{node.out}.sums"), (channels * depth, *node.shape[2:]), sums)
    twice, none = np.full((1, 1), 2, dtype=np.int32), np.zeros((1, 1), dtype=np.int64)
    e.append(AvgPool(x, flat, ranges[1], ranges[2], twice, none, 1, sums.lo, sums.hi))
    pixels = math.prod(node.shape[2:])
    column = Chain((channels * depth, *node.shape[2:])).reshape(channels, depth, pixels)
    x = column.emit(e, flat, e.fresh(f"{node.out}.columns"))
    ones = np.stack([np.arange(pixels), np.arange(1, pixels + 1)], axis=1).astype(np.int32)
    k = _constants(sums, codes, count)
    pooled = e.define(e.fresh(f"{node.out}.flat"), (channels, node.shape[1], pixels), codes)
    e.append(AvgPool(x, pooled, ranges[0], ones, *k, codes.lo, codes.hi))
    after = Chain((channels, node.shape[1], pixels)).reshape(*node.shape)
    e.names[node.out] = after.emit(e, pooled, node.out)


def _lengths(ranges: Sequence[Ranges]) -> list[npt.NDArray[np.int32]]:
    """How many elements of the input each range holds."""
    return [np.ptp(each, axis=1) for each in ranges]


def _count(node: Node, count: Floats) -> Floats:
    """What the sums of windows are divided by."""
    return np.full_like(count, float(node.attrs["divisor"])) if node.attrs.get("divisor") else count


def _constants(source: Codes, codes: Codes, count: Floats) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64], int]:
    """``m``, ``c`` and the shift for windows of so many elements each."""
    scale = source.scale / codes.scale / count
    shift = fixed.choose_shift(scale)
    m = fixed.multiplier(scale, shift)
    c = fixed.offset(np.zeros_like(scale), codes.zero, shift)
    return (m[:1, :1], c[:1, :1], shift) if (m == m.flat[0]).all() else (m, c, shift)


def _windows(node: Node, axis: int, size: int) -> tuple[npt.NDArray[np.int32], Floats]:
    """Half-open input ranges ``[out, 2]`` along one axis, and how many elements each counts."""
    out = node.shape[1 + axis]
    index = np.arange(out)
    a = node.attrs
    if "adaptive" in a:
        first, last = index * size // out, -(-(index + 1) * size // out)
        counted = last - first
    else:
        kernel, stride, padding = a["kernel"][axis], a["stride"][axis], a["padding"][axis]
        start = index * stride - padding
        stop = np.minimum(start + kernel, size + padding)
        first, last = np.maximum(start, 0), np.minimum(stop, size)
        counted = stop - start if a["count_padding"] else last - first
    return np.stack([first, last], axis=1).astype(np.int32), counted.astype(np.float64)


OPERATOR = Operator(
    kind="avg_pool",
    fake=_fake,
    emit=_emit,
    aten={
        "aten.avg_pool1d.default": _avg_pool,
        "aten.avg_pool2d.default": _avg_pool,
        "aten.avg_pool3d.default": _avg_pool,
        "aten.adaptive_avg_pool1d.default": _adaptive_pool,
        "aten.adaptive_avg_pool2d.default": _adaptive_pool,
        "aten.adaptive_avg_pool3d.default": _adaptive_pool,
    },
    own_quantizer=True,
    int32_result=True,
    keeps_sign=True,
)
