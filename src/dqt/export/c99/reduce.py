"""Operators in which many integers become one, in C: reduce.c."""

from __future__ import annotations

from typing import Any

import numpy as np

from dqt.export.c99.code import Code, literal
from dqt.program.operator import Operator
from dqt.program.ops.avg_pool import AvgPool
from dqt.program.ops.choose import Choose
from dqt.program.ops.choose_late import ChooseLate
from dqt.program.ops.max import Max
from dqt.program.ops.max_pool import MaxPool
from dqt.program.ops.mean import Mean
from dqt.program.ops.resize import Resize
from dqt.program.ops.top_k import TopK
from dqt.program.schema import size


def _walks(code: Code, op: Max | Mean) -> list[str]:
    """Over the result, and over the elements that become one of it."""
    x, out = code.values[op.x].shape, code.values[op.out].shape
    far = code.strides(op.x)
    gone = [x[axis] for axis in op.axes]
    return [
        code.walk(out, code.strides(op.out), far),
        code.walk(gone, [0] * len(gone), [far[axis] for axis in op.axes]),
    ]


def mean(code: Code, op: Mean) -> None:
    """See dqt_mean."""
    x = code.values[op.x]
    numbers = (x.zero, literal(op.multiplier(x.shape)), literal(op.c))
    code.call("dqt_mean", *_walks(code, op), code.value(op.x), code.value(op.out), *numbers, code.rounding(op))


def largest(code: Code, op: Max) -> None:
    """See dqt_max."""
    code.call("dqt_max", *_walks(code, op), code.value(op.x), code.value(op.out))


def _window(code: Code, op: AvgPool | MaxPool | Resize, more: str = "{0, 0}, {0, 0}, 0, 0, {0, 0}") -> str:
    """The window, and the number of channels."""
    channels, *sizes = code.values[op.x].shape
    steps = (f"{{{', '.join(map(str, code.strides(name)))}}}" for name in (op.x, op.out))
    parts = [*sizes, *code.values[op.out].shape[1:], *steps]
    return f"{code.struct('dqt_window', *parts, more, 1)}, {channels}"


def max_pool(code: Code, op: MaxPool) -> None:
    """See dqt_max_pool."""
    kernel, stride, dilation = (f"{{{a}, {b}}}" for a, b in (op.kernel, op.stride, op.dilation))
    window = _window(code, op, f"{kernel}, {stride}, {op.padding[0]}, {op.padding[2]}, {dilation}")
    code.call("dqt_max_pool", window, code.value(op.x), code.value(op.out))


def avg_pool(code: Code, op: AvgPool) -> None:
    """See dqt_avg_pool."""
    rows, columns, m = (code.constant(part, np.int32) for part in (op.rows, op.columns, op.m))
    arrays = (rows, columns, m, code.constant(op.c, np.int64), int(op.m.size > 1))
    values = (code.value(op.x), code.value(op.out))
    code.call("dqt_avg_pool", _window(code, op), *values, *arrays, code.values[op.x].zero, code.rounding(op))


def resize(code: Code, op: Resize) -> None:
    """See dqt_resize; the distance between outputs is the ratio of sizes where the program says none."""
    x, out = code.values[op.x].shape, code.values[op.out].shape
    steps: list[int] = []
    for side in (0, 1):
        given = op.steps[2 * side : 2 * side + 2]
        steps += given if given[0] else (x[1 + side], out[1 + side])
    held = code.constant(steps, np.int64)
    code.call("dqt_resize", _window(code, op), code.value(op.x), code.value(op.out), held, int(op.corners))


def choose(code: Code, op: Choose | ChooseLate) -> None:
    """The widths of the layers that it governs, for weights and activations; of a late choice all alike."""
    widths, late = code.constant(op.widths, np.uint8), isinstance(op, ChooseLate)
    logits = f"(const int32_t *)(const void *)({code.data(op.x)})"
    code.call("dqt_choose", logits, 1 if late else len(op.layers), len(op.widths), widths, "chosen")
    for i, layer in enumerate(op.layers):
        place = f"self->widths[{code.program.layers.index(layer)}]"
        code.calls.append(f"{place}.weights = {place}.activations = chosen[{0 if late else i}];")


def top_k(code: Code, op: TopK) -> None:
    """See dqt_top_k."""
    *rows, length = code.values[op.x].shape
    code.call("dqt_top_k", size(tuple(rows)), length, op.count, code.value(op.x), code.value(op.out))


FORMS: dict[type[Operator], Any] = {
    AvgPool: avg_pool, Choose: choose, ChooseLate: choose, Max: largest, MaxPool: max_pool, Mean: mean, Resize: resize,
    TopK: top_k,
}  # fmt: skip
