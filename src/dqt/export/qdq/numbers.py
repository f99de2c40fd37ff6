"""Sums, products, means, norms and softmax in QDQ form: float operators of dequantized values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from dqt.arith.resize import WEIGHT_BITS
from dqt.arith.roots import UNIT_BITS
from dqt.export.matrices import ones, resizing
from dqt.export.qdq.maker import SMALL, Maker
from dqt.export.reals import equal_windows, offset_of, unit_of
from dqt.program.ops.add import Add
from dqt.program.ops.avg_pool import AvgPool
from dqt.program.ops.max import Max
from dqt.program.ops.max_pool import MaxPool
from dqt.program.ops.mean import Mean
from dqt.program.ops.multiply import Multiply
from dqt.program.ops.normalize import Normalize
from dqt.program.ops.resize import Resize
from dqt.program.ops.softmax import Softmax
from dqt.program.ops.top_k import TopK
from dqt.program.schema import size

LEAST = 1e-12
"""Added to a mean square, in units of the squared scale: a row of equal numbers becomes zeros."""
EXPONENT = 1024 * math.log2(math.e)
"""The scale of whose integers a softmax takes the exponents as they are is one over this."""


def add(made: Maker, op: Add) -> None:
    """``Add``, or ``Sub`` where a scale is negative."""
    a, b = made.values[op.a], made.values[op.b]
    unit = unit_of(op, made.values)
    first, second = op.k1 * unit / a.scale, op.k2 * unit / b.scale
    x, y = (made.ranked(name, op.out) for name in (op.a, op.b))
    offset = offset_of(op, op.k1 * a.zero + op.k2 * b.zero + op.k3, made.values)
    if first > 0 or second < 0:
        kind, ins = ("Add" if second > 0 else "Sub"), [made.scaled(x, first), made.scaled(y, abs(second))]
    else:
        kind, ins = "Sub", [made.scaled(y, second), made.scaled(x, -first)]
    made.define(op, kind, ins, offset=offset)


def multiply(made: Maker, op: Multiply) -> None:
    """``k1*a*b + k2*a + k3*b + k4``, whose second and third term are those of the zero points or nearly so."""
    a, b = made.values[op.a], made.values[op.b]
    unit = unit_of(op, made.values)
    x, y = (made.ranked(name, op.out) for name in (op.a, op.b))
    rest = ((x, a, op.k2 + op.k1 * b.zero), (y, b, op.k3 + op.k1 * a.zero))
    constant = op.k4 + op.k1 * a.zero * b.zero + op.k2 * a.zero + op.k3 * b.zero
    offset, factor = offset_of(op, constant, made.values), op.k1 * unit / (a.scale * b.scale)
    felt = (each for each in rest if abs(each[2]) * each[1].reach > SMALL * 2.0**op.shift)
    terms = [made.scaled(z, k * unit / value.scale) for z, value, k in felt]
    if not terms:
        made.define(op, "Mul", [x, y], factor, offset)
        return
    total = made.scaled(made.node("Mul", [x, y]), factor)
    for term in terms[:-1]:
        total = made.node("Add", [total, term])
    made.define(op, "Add", [total, terms[-1]], offset=offset)


def mean(made: Maker, op: Mean) -> None:
    """``ReduceMean``."""
    x = made.values[op.x]
    area = size(tuple(x.shape[axis] for axis in op.axes))
    factor = area * op.multiplier(x.shape) * unit_of(op, made.values) / x.scale
    axes = made.constant([axis + 1 for axis in op.axes], np.int64)
    made.define(op, "ReduceMean", [op.x, axes], factor, offset_of(op, op.c, made.values), keepdims=1)


def largest(made: Maker, op: Max) -> None:
    """``ReduceMax``."""
    made.define(op, "ReduceMax", [op.x, made.constant([axis + 1 for axis in op.axes], np.int64)], keepdims=1)


def top_k(made: Maker, op: TopK) -> None:
    """``TopK``."""
    top = made.node("TopK", [op.x, made.constant([op.count], np.int64)], also=1)
    made.define(op, "Identity", [top])


def max_pool(made: Maker, op: MaxPool) -> None:
    """``MaxPool``."""
    top, bottom, left, right = op.padding
    made.define(
        op, "MaxPool", [op.x], kernel_shape=op.kernel, strides=op.stride, pads=[top, left, bottom, right],
        dilations=op.dilation,
    )  # fmt: skip


def avg_pool(made: Maker, op: AvgPool) -> None:
    """``AveragePool``; of windows that differ sums of their rows and columns."""
    x, windows = made.values[op.x], equal_windows(op, made.values)
    factor: npt.NDArray[Any] = op.m * unit_of(op, made.values) / x.scale
    offset = offset_of(op, op.c, made.values)
    if windows is None:
        across = made.node("MatMul", [op.x, made.constant(ones(op.columns, x.shape[2]).T)])
        made.define(op, "MatMul", [made.constant(ones(op.rows, x.shape[1])), across], factor, offset)
    elif windows.whole:
        made.define(op, "GlobalAveragePool", [op.x], factor * size(windows.kernel), offset)
    else:
        given = {"kernel_shape": windows.kernel, "strides": windows.stride}
        made.define(op, "AveragePool", [op.x], factor * size(windows.kernel), offset, **given)


def resize(made: Maker, op: Resize) -> None:
    """Two products with matrices of weights."""
    (_, *inputs), (_, *outputs) = made.values[op.x].shape, made.values[op.out].shape
    rows, columns = (resizing(op, side, inputs[side], outputs[side]) / 2.0**WEIGHT_BITS for side in (0, 1))
    across = made.node("MatMul", [op.x, made.constant(columns.T)])
    made.define(op, "MatMul", [made.constant(rows), across])


def softmax(made: Maker, op: Softmax) -> None:
    """``Softmax``."""
    factor = op.m * 2.0**-op.shift / (made.values[op.x].scale * EXPONENT)
    made.define(op, "Softmax", [made.scaled(op.x, factor)], axis=-1)


def normalize(made: Maker, op: Normalize) -> None:
    """Deviations over the root of their mean square, then scale and offset."""
    x = made.values[op.x]
    rows = made.constant([0, *x.shape[: op.axis], op.groups, op.count(x)], np.int64)
    v, last = made.node("Reshape", [op.x, rows]), made.constant([-1], np.int64)
    if op.center:
        v = made.node("Sub", [v, made.node("ReduceMean", [v, last], keepdims=1)])
    square = made.node("ReduceMean", [made.node("Mul", [v, v]), last], keepdims=1)
    added = max(op.epsilon * 2.0**-op.fraction, LEAST) * x.scale**2
    root = made.node("Sqrt", [made.node("Add", [square, made.constant(added)])])
    whole = made.constant([0, *x.shape], np.int64)
    u = made.node("Reshape", [made.node("Div", [v, root]), whole])
    gain = op.m * 2.0**UNIT_BITS * unit_of(op, made.values)
    made.define(op, "Mul", [u, made.constant(gain)], offset=offset_of(op, op.c, made.values))


FORMS = {
    Add: add, AvgPool: avg_pool, Max: largest, MaxPool: max_pool, Mean: mean, Multiply: multiply,
    Normalize: normalize, Resize: resize, Softmax: softmax,
    TopK: top_k,
}  # fmt: skip
