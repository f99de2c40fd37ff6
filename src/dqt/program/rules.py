"""What makes one instruction legal: its shapes, ranges and scales. One table, operator -> rule.

A rule gets an instruction whose fields have the right types and whose inputs are defined, raises ProgramError where it
is not legal, and returns the shape of its output (for ``Choose`` and ``Dequantize``: of what they read).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from dqt.arith.bounds import WIDE_LIMIT
from dqt.arith.nested import limits, signed_zero
from dqt.arith.plan import Space
from dqt.program.graph import INPUT, Layered, Scope, Shape, require
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
    Value,
)
from dqt.program.program import ProgramError
from dqt.program.schema import MAX_DIM, MAX_ELEMENTS, check_shape, size

STEP_MIN, STEP_MAX = 2.0**-100, 2.0**100
"""Steps lie between, so that a step and its inverse are normal float32 numbers."""


def check_value(value: Value, space: Space) -> None:
    """Check a value by itself: a shape that can be allocated, a usable step, a zero point of its kind."""
    if value.shape:  # of no dimension, a value is one number for each sample
        check_shape(value.shape, f"value {value.name}")
    require(STEP_MIN <= value.step <= STEP_MAX, f"value {value.name}: step {value.step} is not in [2^-100, 2^100]")
    zeros = (0,) if value.wide else (0, signed_zero(space.master))
    require(value.zero in zeros, f"value {value.name}: zero {value.zero}, need one of {zeros}")


def _narrow(out: Value) -> None:
    """An output that must be codes."""
    require(not out.wide, f"writes the wide value {out.name}: only Conv, Linear, Reshape and Slice may")


def _rounding(op: Any, scope: Scope) -> None:
    """``shift`` in 1..32 and ``[lo, hi]`` inside the output's range."""
    out = scope.values[op.out]
    require(1 <= op.shift <= 32, f"shift {op.shift}, need 1 to 32")
    if not isinstance(op, Layered):
        _narrow(out)
    least, most = (-WIDE_LIMIT, WIDE_LIMIT) if out.wide else (0, scope.highest)
    require(least <= op.lo <= op.hi <= most, f"clamp [{op.lo}, {op.hi}] does not lie in [{least}, {most}]")


def _same_scale(x: Value, out: Value) -> None:
    require(
        (x.step, x.zero, x.wide) == (out.step, out.zero, out.wide),
        f"{out.name} has another step or zero than {x.name}, or only one of them is wide: this operator keeps them",
    )


def _positive(name: str, numbers: tuple[int, ...], least: int) -> None:
    require(all(least <= k <= MAX_DIM for k in numbers), f"{name} {numbers}, need {least} to {MAX_DIM}")


def _weights(op: Layered, scope: Scope) -> None:
    """Weight codes inside the master's range, rows of ``m`` and ``c`` for one or all widths, a legal clamp."""
    _rounding(op, scope)
    least, most = limits(scope.space.master, signed=True)
    if scope.space.master < 8:
        outside = (op.weight < least) | (op.weight > most)
        require(
            not outside.any(), f"a weight is not in [{least}, {most}], the signed range of {scope.space.master} bits"
        )
    count = op.weight.shape[0]
    shapes = ((1, count), (len(scope.space.widths), count))
    for name, rows in (("m", op.m), ("c", op.c)):
        require(rows.shape in shapes, f"{name} of shape {rows.shape}, need one of {shapes}")
    require(op.m.shape == op.c.shape, f"m has shape {op.m.shape} and c {op.c.shape}: need the same rows")


def _windows(x: Value, kernel: Shape, stride: Shape, padding: Shape, dilation: Shape) -> tuple[int, int]:
    """Output rows and columns of sliding windows."""
    require(len(x.shape) == 3, f"reads {x.name} of shape {x.shape}, need (C, H, W)")
    _positive("kernel", kernel, 1)
    _positive("stride", stride, 1)
    _positive("dilation", dilation, 1)
    _positive("padding", padding, 0)
    height, width = x.shape[1] + padding[0] + padding[1], x.shape[2] + padding[2] + padding[3]
    check_shape((x.shape[0], height, width), "padded input")
    rows, columns = (dilation[i] * (kernel[i] - 1) + 1 for i in (0, 1))
    require(rows <= height and columns <= width, f"the window is larger than the padded input {height} x {width}")
    return (height - rows) // stride[0] + 1, (width - columns) // stride[1] + 1


def _quantize(op: Quantize, scope: Scope) -> Shape:
    require(op.x == INPUT, f"reads {op.x!r}, need {INPUT!r}")
    _narrow(scope.values[op.out])
    return scope.input_shape


def _conv(op: Conv, scope: Scope) -> Shape:
    x = scope.codes(op.x)
    require(op.weight.ndim == 4, f"weight of shape {op.weight.shape}, need [O, I / groups, KH, KW]")
    check_shape(op.weight.shape, "weight")
    _weights(op, scope)
    count, depth, *kernel = op.weight.shape
    rows, columns = _windows(x, tuple(kernel), op.stride, op.padding, op.dilation)
    _positive("groups", (op.groups,), 1)
    require(depth * op.groups == x.shape[0], f"{op.groups} groups of {depth} channels, but the input has {x.shape[0]}")
    require(count % op.groups == 0, f"{count} output channels do not divide into {op.groups} groups")
    patch = x.shape[0] * size(tuple(kernel)) * columns
    require(patch <= MAX_ELEMENTS, f"one output row reads {patch} elements, the most is {MAX_ELEMENTS}")
    return (count, rows, columns)


def _linear(op: Linear, scope: Scope) -> Shape:
    x = scope.codes(op.x)
    require(op.weight.ndim == 2, f"weight of shape {op.weight.shape}, need [O, I]")
    check_shape(op.weight.shape, "weight")
    _weights(op, scope)
    count, depth = op.weight.shape
    require(x.shape[-1] == depth, f"weight reads {depth} features, but {x.name} has shape {x.shape}")
    return (*x.shape[:-1], count)


def _elementwise(op: Add | Multiply, scope: Scope) -> Shape:
    _rounding(op, scope)
    a, b = scope.codes(op.a), scope.codes(op.b)
    try:
        return np.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        raise ProgramError(f"shapes {a.shape} and {b.shape} do not broadcast") from None


def _rescale(op: Rescale, scope: Scope) -> Shape:
    _rounding(op, scope)
    x = scope.codes(op.x)
    shapes = ((1,), x.shape[:1])
    require(
        op.m.shape in shapes and op.c.shape == op.m.shape,
        f"m, c of shapes {op.m.shape}, {op.c.shape}: need one of {shapes}",
    )
    return x.shape


def _concat(op: Concat, scope: Scope) -> Shape:
    require(len(op.xs) > 0, "joins nothing: xs is empty")
    xs = [scope.codes(name) for name in op.xs]
    first = xs[0].shape
    require(0 <= op.axis < len(first), f"axis {op.axis}, need 0 to {len(first) - 1}")
    for x in xs:
        _same_scale(x, scope.values[op.out])
        rest = (*x.shape[: op.axis], *x.shape[op.axis + 1 :])
        same = len(x.shape) == len(first) and rest == (*first[: op.axis], *first[op.axis + 1 :])
        require(same, f"{x.name} of shape {x.shape} does not join {first} along axis {op.axis}")
    return (*first[: op.axis], sum(x.shape[op.axis] for x in xs), *first[op.axis + 1 :])


def _max_pool(op: MaxPool, scope: Scope) -> Shape:
    x = scope.codes(op.x)
    _same_scale(x, scope.values[op.out])
    rows, columns = _windows(x, op.kernel, op.stride, op.padding, op.dilation)
    for i, count in enumerate((rows, columns)):
        first = np.arange(count, dtype=np.int64) * op.stride[i] - op.padding[2 * i]
        skipped = -(np.minimum(first, 0) // op.dilation[i])
        inside = (skipped < op.kernel[i]) & (first + skipped * op.dilation[i] < x.shape[1 + i])
        require(bool(inside.all()), f"a window lies in the padding {op.padding} alone: use less padding")
    return (x.shape[0], rows, columns)


def _avg_pool(op: AvgPool, scope: Scope) -> Shape:
    _rounding(op, scope)
    x = scope.codes(op.x)
    require(len(x.shape) == 3, f"reads {x.name} of shape {x.shape}, need (C, H, W)")
    for name, ranges, length in (("rows", op.rows, x.shape[1]), ("columns", op.columns, x.shape[2])):
        require(ranges.ndim == 2 and ranges.shape[1] == 2, f"{name} of shape {ranges.shape}, need [count, 2]")
        first, last = ranges[:, 0], ranges[:, 1]
        inside = (first >= 0) & (first < last) & (last <= length)
        require(bool(inside.all()), f"{name}: a window is empty or not inside [0, {length}]")
    windows = (len(op.rows), len(op.columns))
    shapes = ((1, 1), windows)
    require(
        op.m.shape in shapes and op.c.shape == op.m.shape,
        f"m, c of shapes {op.m.shape}, {op.c.shape}: need (1, 1) or {windows}",
    )
    return (x.shape[0], *windows)


def _table(op: Table, scope: Scope) -> Shape:
    x = scope.codes(op.x)
    _narrow(scope.values[op.out])
    require(op.table.shape == (scope.highest + 1,), f"table of shape {op.table.shape}, need [{scope.highest + 1}]")
    require(int(op.table.max()) <= scope.highest, f"a table entry is above {scope.highest}")
    return x.shape


def _reshape(op: Reshape, scope: Scope) -> Shape:
    x, out = scope.values[op.x], scope.values[op.out]
    _same_scale(x, out)
    require(size(x.shape) == size(out.shape), f"{x.shape} and {out.shape} have different numbers of elements")
    return out.shape


def _slice(op: Slice, scope: Scope) -> Shape:
    x = scope.ranked(op.x)
    _same_scale(x, scope.values[op.out])
    lengths = {len(op.starts), len(op.stops), len(op.steps)}
    require(lengths == {len(x.shape)}, f"need one start, stop and step for each dimension of {x.shape}")
    _positive("steps", op.steps, 1)
    bounds = list(zip(op.starts, op.stops, x.shape, strict=True))
    require(all(0 <= a < b <= d for a, b, d in bounds), f"{op.starts} to {op.stops} is empty or not inside {x.shape}")
    return tuple(-(-(b - a) // step) for (a, b, _), step in zip(bounds, op.steps, strict=True))


def _pad(op: Pad, scope: Scope) -> Shape:
    x = scope.codes(op.x)
    _same_scale(x, scope.values[op.out])
    require(len(op.before) == len(op.after) == len(x.shape), f"need one pair for each dimension of {x.shape}")
    _positive("before", op.before, 0)
    _positive("after", op.after, 0)
    return tuple(a + d + b for a, d, b in zip(op.before, x.shape, op.after, strict=True))


def _choose(op: Choose, scope: Scope) -> Shape:
    space, x = scope.space, scope.values[op.x]
    require(x.wide, f"reads {x.name}, which is not wide")
    require(op.layers == space.chosen, "its layers are not those of the space that carry a chosen width, in order")
    require(op.widths == space.choices, f"widths {op.widths}, but the space's choices are {space.choices}")
    logits = (len(op.layers) * len(op.widths),)
    require(x.shape == logits, f"reads {x.name} of shape {x.shape}, need {logits}: layers times widths")
    return x.shape


def _dequantize(op: Dequantize, scope: Scope) -> Shape:
    return scope.values[op.x].shape


RULES: dict[type[Any], Callable[[Any, Scope], Shape]] = {
    Quantize: _quantize,
    Conv: _conv,
    Linear: _linear,
    Add: _elementwise,
    Multiply: _elementwise,
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


def output_shape(op: Op, scope: Scope) -> Shape:
    """Check one instruction by its rule; the shape that its output must have.

    Raises:
        ProgramError: it is not legal.
    """
    return RULES[type(op)](op, scope)
