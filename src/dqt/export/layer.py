"""Layers in ONNX: narrowing, integer products, and their requantization, at one width or at those that samples choose."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from dqt.arith.nested import shift_of
from dqt.arith.plan import Pair
from dqt.export.graph import OFFSET, Graph
from dqt.program.layered import Layered, exponent, narrowed, row_of

Product = Callable[[str, str, str], str]
"""int8 operand, int8 weight and the operand's zero point, a constant, to int32 accumulators."""


def add_layer(g: Graph, op: Layered, product: Product, channels: tuple[int, ...]) -> None:
    """Append a layer.

    Args:
        product: appends its integer product.
        channels: the shape of one number for each output channel, to broadcast over the accumulators.
    """
    if op.layer not in g.chosen:
        return _at(g, op, g.pairs[op.layer], product, channels, op.out)
    outs = []
    for b in g.program.space.choices:
        out = g.name(f"{op.out}.{b}")
        g.values[out] = g.values[op.out]
        _at(g, op, (b, b), product, channels, out)
        outs.append((b, out))
    select(g, op.layer, outs, op.out, rank=1 + len(g.values[op.out].shape))


def select(g: Graph, layer: str, outs: list[tuple[int, str]], out: str, rank: int) -> None:
    """``out`` of each sample is the tensor of the width that it chose."""
    result = outs[0][1]
    shape = g.constant([-1] + [1] * (rank - 1), np.int64)
    for i, (b, tensor) in enumerate(outs[1:]):
        mine = g.node("Reshape", [g.node("Equal", [g.chosen[layer], g.constant(np.int64(b))]), shape])
        last = i == len(outs) - 2
        result = g.node("Where", [mine, tensor, result], out if last else "")
    if len(outs) == 1:
        g.node("Identity", [result], out)


def _at(g: Graph, op: Layered, pair: Pair, product: Product, channels: tuple[int, ...], out: str) -> None:
    bw, ba = pair
    space, zero = g.program.space, g.values[op.x].zero
    weight = narrowed(op.weight, space.master, bw, nearest=op.nearest, e=exponent(op.weight_exponents, space, bw))
    inside = 0 <= zero <= 255
    acc = product(
        narrow_input(g, op.x, ba, exponent(op.input_exponents, space, ba)),
        weight_tensor(g, op, bw, weight),
        g.constant(np.int8((zero if inside else 0) - OFFSET)),
    )
    row = row_of(space, op.m, min(pair))
    m, c = op.m[row].astype(np.int64), op.c[row]
    bound = op.bound_at(space, bw, zero)
    reach = np.maximum(-bound.lo, bound.hi)
    if not inside:  # a zero point that is no code, of a layer without padding
        sums = weight.astype(np.int64).reshape(len(weight), -1).sum(axis=1)
        c, reach = c - zero * sums * m, reach + abs(zero) * np.abs(sums)
    top = max(int(r) * abs(int(a)) + abs(int(b)) for r, a, b in zip(reach, m, c, strict=True))
    g.rounded(g.scaled([(acc, m.reshape(channels))], c.reshape(channels), op.shift, top), op.lo, op.hi, out)


def narrow_input(g: Graph, name: str, b: int, e: int = 0) -> str:
    """``T_b(q) - 128``, int8, of a value of codes (numerics.md, equations 6 and 23)."""
    n, zero = g.program.space.master, g.values[name].zero
    s, start = shift_of(n, b, e), zero - (zero >> e)
    if s == 0 and e == 0:
        return name
    x, low = name, start - OFFSET
    if e:
        most = low + (1 << (n - e)) - 1
        x = g.node("Clip", [x, g.constant(np.int8(low)), g.constant(np.int8(most))])
        x = g.node("Sub", [x, g.constant(np.int8(low + OFFSET))]) if low + OFFSET else x
    half, top = (1 << s) >> 1, (1 << (n - e)) - 1 - OFFSET
    if half:  # what would be rounded beyond the last code stays at it
        x = g.node("Add", [g.node("Min", [x, g.constant(np.int8(top - half))]), g.constant(np.int8(half))])
    x = g.node("BitwiseAnd", [x, g.constant(np.int8(-(1 << s)))])
    return g.node("Add", [x, g.constant(np.int8(start))]) if e and start else x


def weight_tensor(g: Graph, op: Layered, b: int, weight: npt.NDArray[np.int8]) -> str:
    """The narrowed weight: of 4 bits or less its codes are stored, and shifted back by the graph."""
    n = g.program.space.master
    e = exponent(op.weight_exponents, g.program.space, b)
    s = shift_of(n, b, e)
    codes = weight >> s
    if b > 4 or s == 0:
        return g.constant(weight)
    stored = g.node("Mul", [g.narrow_constant(codes, b), g.constant(np.int8(1 << s) if s < 7 else np.int8(-128))])
    rest = weight - (codes << s)
    middles = _middles(rest)
    return g.node("Add", [stored, g.constant(middles)]) if middles.any() else stored


def _middles(rest: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
    """What the midpoint rule adds, by input channel or by tap; the same for every output channel."""
    first = rest[:1]
    return first[:, :, :1, :1] if rest.ndim == 4 and rest.shape[1] > 1 else first
