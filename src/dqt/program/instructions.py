"""One instruction, one function: what each operator of a program does to the integers of a slice.

Matrix products go through the floating-point BLAS where that is exact, and only there: operands and products are
integers, and the bound of the layer (equation 14) keeps every partial sum, in any order, below ``2^24`` for float32
and below ``2^53`` for float64. A verified accumulator fits int32, so one of the two always holds. Requantization is
64-bit integer. Work goes block by block, so that the temporaries of a block fit the cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from dqt.arith.affine import AddConstants, MultiplyConstants, add, multiply
from dqt.arith.fixed import requantize
from dqt.arith.nested import limits, narrow_activation
from dqt.arith.plan import Pair
from dqt.program.graph import Layered
from dqt.program.machine import Array, State
from dqt.program.ops import (
    Add,
    AvgPool,
    Choose,
    Concat,
    Conv,
    Dequantize,
    Linear,
    MaxPool,
    Multiply,
    Op,
    Pad,
    Quantize,
    Rescale,
    Reshape,
    Slice,
    Table,
)
from dqt.program.prove import row
from dqt.program.schema import size

BLOCK = 1 << 18
"""Elements of the largest temporary of a block: 1 MiB of float32."""


def blocks(count: int, elements: int) -> Iterator[slice]:
    """Slices of ``count`` items so that a block of them, ``elements`` each, fits the cache; at least one item."""
    step = max(1, BLOCK // max(1, elements))
    return (slice(i, i + step) for i in range(0, count, step))


def _quantize(op: Quantize, state: State) -> Array:
    value, out = state.value(op.out), state.empty(op.out)
    lo, hi = limits(state.machine.n, signed=False)
    inverse = np.float32(1 / value.step)
    with np.errstate(over="ignore"):
        for some in blocks(len(out), size(value.shape)):
            out[some] = (np.rint(state.x[some] * inverse) + np.float32(value.zero)).clip(lo, hi)
    return out


def _narrow(q: Array, n: int, b: int, zero: int, dtype: Any) -> Array:
    """``T_b(q) - zero`` in the float type of the product."""
    return (narrow_activation(q.astype(np.int16), n, b) - np.int16(zero)).astype(dtype)


def _requantized(op: Layered, state: State, acc: Array, b: int, axes: tuple[int, ...]) -> Array:
    """The accumulators of one block in codes; ``axes`` are those of ``acc`` after its channels."""
    k = row(state.machine.space, op.m, b)
    m, c = (np.expand_dims(rows[k].astype(np.int64), axes) for rows in (op.m, op.c))
    return requantize(acc.astype(np.int64), m, c, op.shift, op.lo, op.hi)


def _conv(op: Conv, state: State) -> Array:
    out = state.empty(op.out)
    for pair, samples in state.groups(op.layer):
        out[samples] = _conv_at(op, state, state.data[op.x][samples], pair)
    return out


def _conv_at(op: Conv, state: State, x: Array, pair: Pair) -> Array:
    """All of ``x`` at one pair of widths: patches, one product per group, requantization, block by block."""
    value, machine = state.value(op.out), state.machine
    out = np.empty((len(x), *value.shape), dtype=np.int32 if value.wide else np.uint8)
    matrix = machine.matrix(op, pair[0])
    (top, bottom, left, right), channels = op.padding, x.shape[1]
    _, height, width = value.shape
    patch = channels * size(op.weight.shape[2:]) * width
    for some in blocks(len(x), patch * height):
        q = _narrow(x[some], machine.n, pair[1], state.value(op.x).zero, matrix.dtype)
        q = np.pad(q, ((0, 0), (0, 0), (top, bottom), (left, right)))
        for rows in blocks(height, patch * len(q)):
            taps = _patches(op, q, range(*rows.indices(height)), width)
            acc = matrix @ taps.reshape(op.groups, matrix.shape[2], -1)
            codes = _requantized(op, state, acc.reshape(len(op.weight), *taps.shape[3:]), min(pair), (1, 2, 3))
            out[some, :, rows] = codes.swapaxes(0, 1)
    return out


def _patches(op: Conv, q: Array, rows: range, width: int) -> Array:
    """What each tap sees at output rows ``rows``: ``[C, KH, KW, N, rows, width]`` from padded ``[N, C, H, W]``."""
    (down, right), kernel = op.stride, op.weight.shape[2:]
    taps = np.empty((q.shape[1], *kernel, len(q), len(rows), width), dtype=q.dtype)
    for i, j in np.ndindex(*kernel):
        top, left = rows.start * down + i * op.dilation[0], j * op.dilation[1]
        bottom, end = top + (len(rows) - 1) * down + 1, left + (width - 1) * right + 1
        taps[:, i, j] = q[:, :, top:bottom:down, left:end:right].swapaxes(0, 1)
    return taps


def _linear(op: Linear, state: State) -> Array:
    x, out = state.data[op.x], state.empty(op.out)
    for pair, samples in state.groups(op.layer):
        matrix = state.machine.matrix(op, pair[0])[0]
        q = _narrow(x[samples], state.machine.n, pair[1], state.value(op.x).zero, matrix.dtype)
        out[samples] = _requantized(op, state, q @ matrix.T, min(pair), ())
    return out


def _operands(op: Add | Multiply, state: State) -> tuple[Array, Array]:
    """Both operands with the output's number of dimensions, so that they broadcast after the batch."""
    rank = len(state.value(op.out).shape)
    a, b = (state.data[name] for name in (op.a, op.b))
    a, b = (q.reshape(len(q), *(1,) * (rank + 1 - q.ndim), *q.shape[1:]) for q in (a, b))
    return a, b


def _add(op: Add, state: State) -> Array:
    (a, b), out = _operands(op, state), state.empty(op.out)
    k = AddConstants(op.k1, op.k2, op.k3, op.shift)
    for some in blocks(len(out), size(out.shape[1:])):
        out[some] = add(a[some].astype(np.int64), b[some].astype(np.int64), k, op.lo, op.hi)
    return out


def _multiply(op: Multiply, state: State) -> Array:
    (a, b), out = _operands(op, state), state.empty(op.out)
    k = MultiplyConstants(op.k1, op.k2, op.k3, op.k4, op.shift)
    for some in blocks(len(out), size(out.shape[1:])):
        out[some] = multiply(a[some].astype(np.int64), b[some].astype(np.int64), k, op.lo, op.hi)
    return out


def _rescale(op: Rescale, state: State) -> Array:
    x, out = state.data[op.x], state.empty(op.out)
    shape = (-1, *(1,) * (x.ndim - 2))
    m, c = op.m.astype(np.int64).reshape(shape), op.c.reshape(shape)
    for some in blocks(len(out), size(out.shape[1:])):
        out[some] = requantize(x[some].astype(np.int64), m, c, op.shift, op.lo, op.hi)
    return out


def _concat(op: Concat, state: State) -> Array:
    return np.concatenate([state.data[name] for name in op.xs], axis=op.axis + 1)


def _max_pool(op: MaxPool, state: State) -> Array:
    """Padding is code 0, which no window prefers to a code of its own: a verified window has one."""
    x, out = state.data[op.x], state.empty(op.out)
    top, bottom, left, right = op.padding
    q = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    out[:] = 0
    _, _, height, width = out.shape
    for i, j in np.ndindex(*op.kernel):
        y, z = i * op.dilation[0], j * op.dilation[1]
        end_y, end_z = y + (height - 1) * op.stride[0] + 1, z + (width - 1) * op.stride[1] + 1
        np.maximum(out, q[:, :, y : end_y : op.stride[0], z : end_z : op.stride[1]], out=out)
    return out


def _avg_pool(op: AvgPool, state: State) -> Array:
    """Window sums as differences of running sums, exact in int64."""
    x, out = state.data[op.x], state.empty(op.out)
    zero, m = state.value(op.x).zero, op.m.astype(np.int64)
    for some in blocks(len(out), size(x.shape[1:])):
        acc = x[some].astype(np.int64) - zero
        for axis, ranges in ((2, op.rows), (3, op.columns)):
            running = np.pad(acc.cumsum(axis=axis), [(1, 0) if i == axis else (0, 0) for i in range(4)])
            acc = running.take(ranges[:, 1], axis=axis) - running.take(ranges[:, 0], axis=axis)
        out[some] = requantize(acc, m, op.c, op.shift, op.lo, op.hi)
    return out


def _table(op: Table, state: State) -> Array:
    return op.table[state.data[op.x]]


def _reshape(op: Reshape, state: State) -> Array:
    return state.data[op.x].reshape(-1, *state.value(op.out).shape)


def _slice(op: Slice, state: State) -> Array:
    triples = zip(op.starts, op.stops, op.steps, strict=True)
    return state.data[op.x][(slice(None), *(slice(*triple) for triple in triples))]


def _pad(op: Pad, state: State) -> Array:
    pairs = ((0, 0), *zip(op.before, op.after, strict=True))
    return np.pad(state.data[op.x], pairs, constant_values=state.value(op.x).zero)


def _choose(op: Choose, state: State) -> Array:
    """The first of the largest logits; nothing but ``state.chosen`` comes of it."""
    logits = state.data[op.x].reshape(-1, len(op.layers), len(op.widths))
    widths = np.array(op.widths, dtype=np.int8)[logits.argmax(axis=2)]
    state.chosen = {layer: widths[:, i] for i, layer in enumerate(op.layers)}
    return widths


def _dequantize(op: Dequantize, state: State) -> Array:
    return state.data[op.x]


EXECUTE: dict[type[Op], Callable[[Any, State], Array]] = {
    Quantize: _quantize,
    Conv: _conv,
    Linear: _linear,
    Add: _add,
    Multiply: _multiply,
    Rescale: _rescale,
    Concat: _concat,
    MaxPool: _max_pool,
    AvgPool: _avg_pool,
    Table: _table,
    Reshape: _reshape,
    Slice: _slice,
    Pad: _pad,
    Choose: _choose,
    Dequantize: _dequantize,
}
