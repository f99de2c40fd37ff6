"""Average pooling: windows, and adaptive windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch.nn.functional as F
from torch import Tensor, fx

from dqt.arith import fixed
from dqt.nn.graph import Node
from dqt.nn.integers import Floats
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
    x, shape = images(b, call)
    return reshaped(b, call, b.add(call, "avg_pool", [x], attrs={"adaptive": shape[1:]}, shape=shape), b.shape(call))


def _fake(net: Net, node: Node, ins: Sequence[Signal], run: Run) -> Signal:
    return Signal(_average(ins[0].master, node), net.edge(node), run.quantized)


def _average(x: Tensor, node: Node) -> Tensor:
    a, one = node.attrs, len(node.shape) == 2
    if "adaptive" in a:
        run: Any = F.adaptive_avg_pool1d if one else F.adaptive_avg_pool2d
        return run(x, a["adaptive"])
    if one:
        return F.avg_pool1d(x, a["kernel"], a["stride"], a["padding"], a["ceil"], a["count_padding"])
    return F.avg_pool2d(x, a["kernel"], a["stride"], a["padding"], a["ceil"], a["count_padding"], a["divisor"])


def _emit(e: Emission, node: Node) -> None:
    whole = set(node.attrs.get("adaptive", ())) == {1}
    if whole and (e.net.inputs.dims or e.net.edge(node) is None):  # the same integers, whether sizes are fixed or not
        axes = tuple(range(1, len(node.shape)))
        append_mean(e, node, e.result_codes(node, e.reach(node)), axes, divides=True)
        return
    source = e.codes(node.ins[0])
    rows, columns, count = _raster(node, e.net.shapes[node.ins[0]][1:])
    area = np.ptp(rows, axis=1)[:, None] * np.ptp(columns, axis=1)[None, :]
    codes = e.result_codes(node, e.reach(node) * float(np.max(area / count)))
    scale = source.scale / codes.scale / count
    shift = fixed.choose_shift(scale)
    m = fixed.multiplier(scale, shift)
    c = fixed.offset(np.zeros_like(scale), codes.zero, shift)
    if (m == m.flat[0]).all():
        m, c = m[:1, :1], c[:1, :1]
    x, out, flatten = e.image(node, codes)
    e.append(AvgPool(x, out, rows, columns, m, c, shift, codes.lo, codes.hi))
    flatten()


def _raster(node: Node, size: tuple[int, ...]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], Floats]:
    """Input ranges of output rows and columns, and the divisor of each window; 1-d pools have one row."""
    windows = [_windows(node, axis, length) for axis, length in enumerate(size)]
    if len(windows) == 1:
        windows.insert(0, (np.array([[0, 1]], dtype=np.int32), np.ones(1)))
    (rows, high), (columns, wide) = windows
    count = high[:, None] * wide[None, :]
    if node.attrs.get("divisor"):
        count = np.full_like(count, float(node.attrs["divisor"]))
    return rows, columns, count


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
        "aten.adaptive_avg_pool1d.default": _adaptive_pool,
        "aten.adaptive_avg_pool2d.default": _adaptive_pool,
    },
    own_edge=True,
    int32_result=True,
    keeps_sign=True,
)
