"""Layers and what else has constants of its own, in QDQ form."""

from __future__ import annotations

import numpy as np

from dqt.export.qdq.maker import Maker
from dqt.export.reals import layer_of, layer_of_rescale, offset_of, unit_of
from dqt.program.ops.conv import Conv
from dqt.program.ops.embedding import Embedding
from dqt.program.ops.linear import Linear
from dqt.program.ops.mat_mul import MatMul
from dqt.program.ops.rescale import Rescale
from dqt.program.ops.table import Table


def conv(made: Maker, op: Conv) -> None:
    """``Conv`` of int8 weights and an int32 bias, both dequantized."""
    top, bottom, left, right = op.padding
    ins = [op.x, *made.layer(layer_of(op, made.program, made.values), op.x, op.out)]
    made.define(
        op, "Conv", ins, kernel_shape=op.weight.shape[2:], strides=op.stride, pads=[top, left, bottom, right],
        dilations=op.dilation, group=op.groups,
    )  # fmt: skip


def linear(made: Maker, op: Linear) -> None:
    """``Gemm`` of vectors; of more dimensions ``MatMul`` and a sum."""
    layer = layer_of(op, made.program, made.values)
    if len(made.values[op.x].shape) == 1:
        made.define(op, "Gemm", [op.x, *made.layer(layer, op.x, op.out)], transB=1)
    else:
        weight, bias = made.layer(layer, op.x, op.out, transposed=True)
        made.define(op, "Add", [made.node("MatMul", [op.x, weight]), bias])


def mat_mul(made: Maker, op: MatMul) -> None:
    """``MatMul`` of two activations."""
    a, b = (made.values[name].scale for name in (op.a, op.b))
    factor = op.m * unit_of(op, made.values) / (a * b)
    ins = [made.ranked(name, op.out) for name in (op.a, op.b)]
    made.define(op, "MatMul", ins, factor, offset_of(op, op.c, made.values))


def rescale(made: Maker, op: Rescale) -> None:
    """Of images a ``Conv`` of one tap for each channel; of other shapes a product and a sum."""
    x = made.values[op.x]
    if len(x.shape) == 3:
        ins = [op.x, *made.layer(layer_of_rescale(op, made.values), op.x, op.out)]
        made.define(op, "Conv", ins, kernel_shape=[1, 1], group=x.shape[0])
        return
    shape = (-1, *(1,) * (len(x.shape) - 1)) if len(op.m) > 1 else (1,)
    factor = (op.m * unit_of(op, made.values) / x.scale).reshape(shape)
    offset = offset_of(op, op.c + op.m.astype(np.int64) * x.zero, made.values).reshape(shape)
    made.define(op, "Mul", [op.x, made.constant(factor)], offset=offset)


def embedding(made: Maker, op: Embedding) -> None:
    """``Gather`` of int8 rows and, where each row has its own, of their scales and offsets."""
    index = made.cast(op.x, "INT64")
    rows = made.cast(made.node("Gather", [made.constant(op.table, np.int8), index], axis=0), "FLOAT")
    scale, offset = op.m * unit_of(op, made.values), offset_of(op, op.c, made.values)
    if len(op.m) == 1:
        made.define(op, "Mul", [rows, made.constant(scale)], offset=offset)
        return
    scales, offsets = (made.node("Gather", [made.constant(k[:, None]), index], axis=0) for k in (scale, offset))
    made.define(op, "Add", [made.node("Mul", [rows, scales]), offsets])


def table(made: Maker, op: Table) -> None:
    """``Gather`` from a table of real numbers, by code."""
    out, index = made.values[op.out], made.cast(made.codes[op.x], "INT32")
    if op.table.ndim == 2:
        channels, entries = op.table.shape
        shape = (channels, *(1,) * (len(made.values[op.x].shape) - 1))
        first = np.arange(channels, dtype=np.int32).reshape(shape) * np.int32(entries)
        index = made.node("Add", [index, made.constant(first, np.int32)])
    reals = made.constant(out.scale * (op.table.reshape(-1).astype(np.float64) - out.zero))
    made.define(op, "Gather", [reals, index], axis=0)


FORMS = {
    Conv: conv, Embedding: embedding, Linear: linear, MatMul: mat_mul, Rescale: rescale, Table: table,
}  # fmt: skip
