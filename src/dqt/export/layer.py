"""Layers in ONNX: narrowing, integer products and requantization, at one width or at those that samples choose."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from dqt.arith.nested import shift_of
from dqt.arith.plan import Pair
from dqt.export.alike import Numbers, numbers
from dqt.export.graph import Graph
from dqt.export.rounding import Terms, clamped, rounded
from dqt.program.layered import Layered, exponent, narrowed, row_of

Product = Callable[[tuple[str, str], tuple[int, int]], str]
"""uint8 operand and weight, and the zero points of both, to int32 accumulators."""
RoundedProduct = Callable[[tuple[str, str], tuple[int, int], Numbers, int], str]
"""The same, numbers that round as the program, and the zero point of its codes, to these: uint8."""


def add_layer(
    g: Graph, op: Layered, product: Product, channels: tuple[int, ...], rounded_product: RoundedProduct | None = None
) -> None:
    """Append a layer.

    Args:
        product: appends its integer product.
        channels: the shape of one number for each output channel, to broadcast over the accumulators.
        rounded_product: appends the product with its rounding, which is float32, where that is exact.
    """
    forms = (product, rounded_product)
    at_widths(g, op.layer, op.out, lambda pair, out: _at(g, op, pair, forms, channels, out))


def at_widths(g: Graph, layer: str, out: str, at: Callable[[Pair, str], None]) -> None:
    """Append a layer at the pair of widths of the plan, or at each that samples choose among, and their choice.

    Args:
        at: appends it at a pair of widths; the second argument is the name of its result.
    """
    if layer not in g.chosen:
        at(g.pairs[layer], out)
        return
    outs = []
    for b in g.program.space.choices:
        one = g.name(f"{out}.{b}")
        g.values[one] = g.values[out]
        at((b, b), one)
        outs.append((b, one))
    select(g, layer, outs, out, rank=1 + len(g.values[out].shape))


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


def _at(
    g: Graph,
    op: Layered,
    pair: Pair,
    forms: tuple[Product, RoundedProduct | None],
    channels: tuple[int, ...],
    out: str,
) -> None:
    bw, ba = pair
    space, zero = g.program.space, g.values[op.x].zero
    weight = narrowed(op.weight, space.master, bw, nearest=op.nearest, e=exponent(op.weight_exponents, space, bw))
    inside = 0 <= zero <= 255
    x = narrow_input(g, op.x, ba, exponent(op.input_exponents, space, ba))
    row = row_of(space, op.m, pair)
    m, c = op.m[row].astype(np.int64), op.c[row]
    bound = op.bound_at(space, bw, zero)
    product, rounded_product = forms
    ins, zeros = (x, weight_tensor(g, op, bw, weight)), (zero if inside else 0, middle_of(g, op, bw))
    to = g.values[out]
    found = numbers(m, c, bound, op.shift, to.zero, op.lo, op.hi) if rounded_product and inside and to.coded else None
    if rounded_product and found:
        clamped(g, rounded_product(ins, zeros, found, to.zero), op.lo, op.hi, out)
        return
    acc = product(ins, zeros)
    reach = np.maximum(-bound.lo, bound.hi)
    if not inside:  # a zero point that is no code, of a layer without padding
        sums = weight.astype(np.int64).reshape(len(weight), -1).sum(axis=1)
        c, reach = c - zero * sums * m, reach + abs(zero) * np.abs(sums)
    top = max(int(r) * abs(int(a)) + abs(int(b)) for r, a, b in zip(reach, m, c, strict=True))
    rounded(g, Terms([(acc, m.reshape(channels))], c.reshape(channels), op.shift, top), op.lo, op.hi, out)


def middle_of(g: Graph, op: Layered, b: int) -> int:
    """What a stored weight is above its value: half of the range that width ``b`` reads."""
    n = g.program.space.master
    return 1 << (n - 1 if op.layer in g.chosen else n - 1 - exponent(op.weight_exponents, g.program.space, b))


def narrow_input(g: Graph, name: str, b: int, e: int = 0) -> str:
    """``T_b(q)``, uint8, of a value of codes (numerics.md, equations 6 and 23)."""
    n, zero = g.program.space.master, g.values[name].zero
    s, start = shift_of(n, b, e), zero - (zero >> e)
    if e == 0:
        return truncated(g, name, s, top=(1 << n) - 1, nearest=True)
    most = (1 << (n - e)) - 1
    x = g.node("Clip", [name, g.constant(np.uint8(start)), g.constant(np.uint8(start + most))])
    x = g.node("Sub", [x, g.constant(np.uint8(start))]) if start else x
    x = truncated(g, x, s, top=most, nearest=True)
    return g.node("Add", [x, g.constant(np.uint8(start))]) if start else x


def truncated(g: Graph, x: str, s: int, *, top: int, nearest: bool) -> str:
    """The low ``s`` bits cleared, of uint8 in ``[0, top]``; ``nearest``: after rounding, the last half bin down."""
    if s == 0:
        return x
    half = (1 << s) >> 1
    if nearest:
        x = g.node("Add", [g.node("Min", [x, g.constant(np.uint8(top - half))]), g.constant(np.uint8(half))])
    return g.node("BitwiseAnd", [x, g.constant(np.uint8(256 - (1 << s)))])


def weight_tensor(g: Graph, op: Layered, b: int, weight: npt.NDArray[np.int8]) -> str:
    """The narrowed weight plus :func:`middle_of`, uint8. Of 4 bits or less its codes are stored, and shifted back.

    Where samples choose among widths, the master is stored once, and the graph narrows it.
    """
    e = exponent(op.weight_exponents, g.program.space, b)
    s, middle = shift_of(g.program.space.master, b, e), middle_of(g, op, b)
    raised: npt.NDArray[np.uint8] = (weight.astype(np.int16) + middle).astype(np.uint8)
    if op.layer in g.chosen:
        w = _narrowed_master(g, op, s, e)
    elif b > 4 or s == 0:
        return g.constant(raised)
    else:
        w = g.node("Mul", [g.narrow_constant((raised >> s).astype(np.uint8), b), g.constant(np.uint8(1 << s))])
    midpoints = _midpoints((raised & ((1 << s) - 1)).astype(np.uint8))
    return g.node("Add", [w, g.constant(midpoints)]) if midpoints.any() else w


def _narrowed_master(g: Graph, op: Layered, s: int, e: int) -> str:
    """The top bits of the stored master, saturated to the range that is read (numerics.md, equations 4, 21 and 22)."""
    middle = 1 << (g.program.space.master - 1)
    w, reach = g.constant((op.weight.astype(np.int16) + middle).astype(np.uint8)), middle >> e
    if e:
        w = g.node("Clip", [w, g.constant(np.uint8(middle - reach)), g.constant(np.uint8(middle + reach - 1))])
    return truncated(g, w, s, top=middle + reach - 1, nearest=op.nearest)


def _midpoints(rest: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """What the midpoint rule adds, by input channel or by tap; the same for every output channel."""
    first = rest[:1]
    return first[:, :, :1, :1] if rest.ndim == 4 and rest.shape[1] > 1 else first
