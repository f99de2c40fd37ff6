"""Layers in C: layer.c."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from dqt.arith.bounds import INT32, Bound
from dqt.export.c99.code import Code, literal, word
from dqt.export.c99.constants import tables
from dqt.program.layered import Layered, exponent, narrowed, row_of
from dqt.program.operator import Operator
from dqt.program.ops.conv import Conv
from dqt.program.ops.linear import Linear
from dqt.program.planned import Planned
from dqt.program.schema import size

NEAREST_ZERO = -32512
"""Inputs less a zero that is not smaller fit int16."""
BYTE = 8
"""Bits of a master whose weights saturate as bytes do."""
STORED, TABLE, DOUBLED = "DQT_STORED", "DQT_TABLE", "DQT_DOUBLED"
"""How weights are read at a width: ops.h."""
COLUMN = 2
"""Bytes of an input less its zero."""


def pair_of(code: Code, op: Planned) -> tuple[int, int] | None:
    """The widths of a layer where they are known; ``None``: a run says them."""
    if op.layer not in code.program.layers:  # the controller's own
        return code.n, code.n
    return None if code.plan is None else code.plan[op.layer]


def widths(code: Code, op: Planned) -> list[str]:
    """The widths that a layer runs at, in C: of the weights or the first operand, and of its input or the second."""
    pair = pair_of(code, op)
    if pair is not None:
        return [str(b) for b in pair]
    place = code.program.layers.index(op.layer)
    return [f"self->widths[{place}].{side}" for side in ("weights", "activations")]


def stored_bits(code: Code, op: Layered) -> int:
    """Bits of a weight: 4 or 2 where no more are ever read and the others are 0."""
    pair = pair_of(code, op)
    if pair is None or code.n < BYTE or not _has_room(code, op, pair[0]):
        return 8
    return next(bits for bits in (2, 4, 8) if pair[0] <= bits)


def packed(code: Code, op: Layered) -> npt.NDArray[np.uint32]:
    """Weights as dot.h reads them, uint32 ``[O, words]``: tap by tap, an even number of channels in each."""
    bits, pair, space = stored_bits(code, op), pair_of(code, op), code.program.space
    weight = op.weight
    if pair is not None:
        e = exponent(op.weight_exponents, space, pair[0])
        weight = narrowed(weight, code.n, pair[0], nearest=op.nearest, e=e) << (e if bits < BYTE else 0)
    count, depth = weight.shape[:2]
    rows: npt.NDArray[Any] = np.moveaxis(weight.reshape(count, depth, -1), 1, 2)
    if is_depthwise(code, op):
        rows = rows.reshape(count, -1).T
    else:
        rows = np.pad(rows, ((0, 0), (0, 0), (0, step_of(op) - depth))).reshape(count, -1)
        rows = np.pad(rows, ((0, 0), (0, -rows.shape[1] % (32 // bits))))
    parts = np.ascontiguousarray(rows).view(np.uint8).reshape(len(rows), -1, 8 // bits, 4)
    kept = (parts & (0xFF << (8 - bits) & 0xFF)) >> (bits * np.arange(8 // bits, dtype=np.uint8))[:, None]
    words = np.bitwise_or.reduce(kept, axis=2).astype(np.uint32)
    return np.bitwise_or.reduce(words << (8 * np.arange(4, dtype=np.uint32)), axis=-1)


def is_depthwise(code: Code, op: Layered) -> bool:
    """Whether depthwise.c computes it: channels by words, side by side, each with one filter and no table."""
    if not isinstance(op, Conv) or op.groups != op.weight.shape[0] or op.weight.shape[1] > 1:
        return False
    beside = {op.x, op.out} <= code.last and op.groups % (32 // stored_bits(code, op)) == 0
    tables = any(_way(code, op, b) == TABLE for b in code.program.space.widths)
    return beside and not tables and code.values[op.x].zero >= NEAREST_ZERO


def step_of(op: Layered) -> int:
    """Weights of a tap with those that make them an even number: the midpoint alternates from word to word alike."""
    depth = op.weight.shape[1]
    return depth if depth == 1 else depth + depth % 2


def scratch_of(code: Code, op: Layered) -> int:
    """Bytes of what layer.c keeps beside a layer's values."""
    if is_depthwise(code, op):
        return 0
    words = packed(code, op).shape[1]
    places = min(2, size(code.values[op.out].shape) // len(op.weight))
    columns = places + (code.values[op.x].zero < NEAREST_ZERO)
    table = any(_way(code, op, b) == TABLE for b in code.program.space.widths)
    return columns * words * (32 // stored_bits(code, op)) * COLUMN + 4 * words * table


def _way(code: Code, op: Layered, b: int) -> str:
    """How weights of a width are read."""
    if pair_of(code, op) is not None:
        return STORED
    if exponent(op.weight_exponents, code.program.space, b):
        return DOUBLED if _has_room(code, op, b) else TABLE
    return TABLE if op.nearest and b < code.n < BYTE else STORED


def _has_room(code: Code, op: Layered, b: int) -> bool:
    """Whether weights of a range ``2^-e`` may be ``2^e`` times as large: they fill bytes, and sums fit int32."""
    space, zero = code.program.space, code.values[op.x].zero
    e = exponent(op.weight_exponents, space, b)
    if not e:
        return True
    bound = op.bound_at(space, b, zero)
    return code.n == BYTE and zero >= NEAREST_ZERO and max(-int(bound.lo.min()), int(bound.hi.max())) << e <= INT32


def _width(code: Code, op: Layered, b: int) -> str:
    """An entry of ``dqt_width``."""
    space = code.program.space
    if b not in space.widths:
        return "{0, 0, 0, DQT_STORED, 0, 0, 0}"
    shift, e, way = code.n - b, exponent(op.weight_exponents, space, b), _way(code, op, b)
    exact = pair_of(code, op) is not None and stored_bits(code, op) == BYTE  # weights are T_b as they are
    bin_ = 0 if exact or way == TABLE or shift == e else 1 << shift
    mask = 0xFF if exact or way == TABLE or not shift else 0xFF << max(shift, BYTE - stored_bits(code, op)) & 0xFF
    middle = 0 if op.nearest else bin_ >> 1
    half = bin_ >> 1 if op.nearest and pair_of(code, op) is None and code.n == BYTE else 0
    row = 0 if pair_of(code, op) else row_of(space, op.m, (b, b))
    exponents = (0 if exact else e, exponent(op.input_exponents, space, b))
    return f"{{{', '.join([*map(word, (mask, middle, half)), way, *map(str, (row, *exponents))])}}}"


def _constants(code: Code, op: Layered) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64], Bound]:
    """Rows of m and c that a run may take, and the accumulators that meet each of them."""
    pair, space = pair_of(code, op), code.program.space
    met: dict[int, set[int]] = {}  # widths of weights, by row
    for bw, ba in product(space.widths, repeat=2) if pair is None else [pair]:
        met.setdefault(row_of(space, op.m, (bw, ba)), set()).add(bw)
    rows, zero, bounds = sorted(met), code.values[op.x].zero, []
    for row in rows:
        each = [op.bound_at(space, b, zero) for b in sorted(met[row])]
        bounds.append((np.min([bound.lo for bound in each], axis=0), np.max([bound.hi for bound in each], axis=0)))
    lows, highs = (np.stack(side) for side in zip(*bounds, strict=True))
    return op.m[rows], op.c[rows], Bound(lows, highs)


def _unlike(code: Code, op: Layered) -> int:
    """How many rows of m and c lie before those of unlike widths; 0: there are none."""
    count = len(code.program.space.widths)
    return count if pair_of(code, op) is None and len(op.m) > count else 0


def _layer(code: Code, op: Layered) -> str:
    lowest = code.program.space.widths[0]
    entries = [_width(code, op, b) for b in range(lowest, code.n + 1)]
    weight, zero, scales = packed(code, op), code.values[op.x].zero, tables(code, op, *_constants(code, op))
    arrays = [code.constant(weight, np.uint32), *scales.arrays]
    arrays.append(code.held("dqt_width", tuple(entries), lambda: ", ".join(entries)))
    numbers = [
        weight.shape[1], *op.weight.shape[:2], step_of(op), literal(scales.base), scales.row, scales.unit,
        zero, max(zero, NEAREST_ZERO), stored_bits(code, op), code.n, int(op.nearest), lowest,
        _unlike(code, op),
    ]  # fmt: skip
    return code.struct("dqt_layer", *arrays, *numbers, code.rounding(op, typed=False))


def _window(code: Code, parts: Sequence[Any]) -> str:
    shown = (str(part) if isinstance(part, int) else f"{{{', '.join(map(str, part))}}}" for part in parts)
    return code.struct("dqt_window", *shown)


def _call(code: Code, op: Layered, window: Sequence[Any]) -> None:
    arguments = [_layer(code, op), _window(code, window), code.data(op.x), code.value(op.out), *widths(code, op)]
    if is_depthwise(code, op):
        code.call("dqt_depthwise", *arguments)
    else:
        code.call("dqt_layers", *arguments, code.data(f"row of {op.out}"))


def conv(code: Code, op: Conv) -> None:
    """See dqt_layers and dqt_depthwise."""
    sizes = (*code.values[op.x].shape[1:], *code.values[op.out].shape[1:])
    steps = (code.strides(op.x), code.strides(op.out))
    top, _, left, _ = op.padding
    _call(code, op, [*sizes, *steps, op.weight.shape[2:], op.stride, top, left, op.dilation, op.groups])


def linear(code: Code, op: Linear) -> None:
    """See dqt_layers: each vector is a place."""
    vectors, (count, depth) = size(code.values[op.x].shape[:-1]), op.weight.shape
    _call(code, op, [1, vectors, 1, vectors, (1, 0, depth), (1, 0, count), (1, 1), (1, 1), 0, 0, (1, 1), 1])


FORMS: dict[type[Operator], Any] = {Conv: conv, Linear: linear}
