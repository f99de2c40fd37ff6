"""From a program's constants back to what other engines take: int8 weights, a real scale a channel, an int32 bias.

A layer gives ``out.scale * 2^-S * (acc * m + c)``, so channel ``o`` of its weights has the scale
``m[o] * 2^-S * out.scale / in.scale``, and what is left of ``c[o]`` without the rounding and the zero point is its bias
(docs/numerics.md, equations 8 to 10). Other engines round elsewhere, so that their codes differ from ours by a step now
and then; and some of them let sums saturate where the processor has no VNNI, so that answers differ, too. How often is
measured: docs/kernels.md, "Beside other engines".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dqt.export.packages import ExportError
from dqt.program.graph import needed
from dqt.program.layered import Layered, row_of
from dqt.program.operator import Operator
from dqt.program.ops.add import Add
from dqt.program.ops.avg_pool import AvgPool
from dqt.program.ops.conv import Conv
from dqt.program.ops.dequantize import Dequantize
from dqt.program.ops.multiply import Multiply
from dqt.program.ops.quantize import Quantize
from dqt.program.ops.rescale import Rescale
from dqt.program.program import Program
from dqt.program.schema import size
from dqt.program.values import Value

WIDTH = 8
"""The one width that other engines run."""
BIAS_LIMIT = 2.0**30
SMALLEST = 1e-30
RESCALE_WEIGHT = 64
"""The weight that stands for 1 where a rescaling is written as a convolution: its bias keeps six bits of fraction."""


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer as other engines take it: ``scale[o] * in.scale * (weight[o] . (q - zero) + bias[o])``.

    ``weight``: int8, shaped as in the program; ``scale``: float32 ``[O]``; ``bias``: int32 ``[O]``.
    """

    weight: npt.NDArray[np.int8]
    scale: npt.NDArray[np.float32]
    bias: npt.NDArray[np.int32]


def instructions(program: Program) -> tuple[tuple[Operator, ...], dict[str, Value]]:
    """The instructions of a run at the master width, and the values by name.

    Raises:
        ExportError: a master of less than 8 bits, or an output range that is not the whole one.
    """
    ops, values = at_master(program), {value.name: value for value in program.values}
    for op in ops:
        if isinstance(op, Layered | Add | Multiply | Rescale | AvgPool):
            clamped = values[op.out].coded and (op.lo, op.hi) != (0, 2**WIDTH - 1)
            if clamped:
                raise unsupported(op, f"its range [{op.lo}, {op.hi}] is narrower than 8 bits")
            if not values[op.out].coded and op.out != program.output:
                raise unsupported(op, "its int32 output is not the program's")
    if not isinstance(ops[0], Quantize):
        raise ExportError("the program does not begin with Quantize")
    return ops, values


def at_master(program: Program) -> tuple[Operator, ...]:
    """The instructions of a run at the master width.

    Raises:
        ExportError: a master of less than 8 bits.
    """
    if program.space.master != WIDTH:
        raise ExportError(f"other engines run {WIDTH} bits; the master of this program has {program.space.master}")
    return needed(program.ops, auto=False)


def unit_of(op: Any, values: Mapping[str, Value]) -> float:
    """What 1 of ``acc * m + c`` is in the real numbers of the result."""
    return values[op.out].scale * 2.0**-op.shift


def offset_of(op: Any, c: Any, values: Mapping[str, Value]) -> Any:
    """What ``c`` is in the real numbers of the result, without the rounding and the zero point."""
    return (c - ((1 << op.shift) >> 1) - (values[op.out].zero << op.shift)) * unit_of(op, values)


def convert(
    ops: tuple[Operator, ...], make: Mapping[type[Operator], Callable[[Any, Any], None]], made: Any, engine: str
) -> str:
    """Gives each instruction, but the Dequantize at the end, to its function in ``make``, after ``made``; the output.

    Raises:
        ExportError: ``make`` has none for an instruction.
    """
    for op in ops[:-1]:
        if type(op) not in make:
            raise unsupported(op, f"{engine} has no counterpart that keeps its integers")
        make[type(op)](made, op)
    last = ops[-1]
    assert isinstance(last, Dequantize)
    return last.x


def unsupported(op: Operator, why: str) -> ExportError:
    """The error for an instruction that has no counterpart."""
    name = getattr(op, "layer", None) or getattr(op, "out", "")
    return ExportError(f"{type(op).__name__} '{name}' cannot be given to another engine: {why}")


def difference(op: Add) -> tuple[str, str]:
    """The operands of a sum, one of whose scales is negative: what remains, and what is subtracted.

    Raises:
        ExportError: both are negative.
    """
    if op.k1 < 0 and op.k2 < 0:
        raise unsupported(op, "both of its scales are negative")
    return (op.a, op.b) if op.k2 < 0 else (op.b, op.a)


def layer_of(op: Layered, program: Program, values: Mapping[str, Value]) -> Layer:
    """The layer at the master width."""
    k = row_of(program.space, op.m, (program.space.master,) * 2)
    return _layer(op.weight, op.m[k].astype(np.float64), op.c[k], op.shift, values[op.x], values[op.out])


def layer_of_rescale(op: Rescale, values: Mapping[str, Value]) -> Layer:
    """A rescaling as a depthwise convolution of one tap: its zero point moves from the codes into the offset."""
    source = values[op.x]
    m = np.broadcast_to(op.m.astype(np.int64), source.shape[:1])
    c = np.broadcast_to(op.c, source.shape[:1]) + m * source.zero
    weight = np.full((len(m), 1, 1, 1), RESCALE_WEIGHT, dtype=np.int8)
    return _layer(weight, m / RESCALE_WEIGHT, c, op.shift, source, values[op.out])


def _layer(
    weight: npt.NDArray[np.int8],
    m: npt.NDArray[np.float64],
    c: npt.NDArray[np.int64],
    shift: int,
    source: Value,
    out: Value,
) -> Layer:
    unit = out.scale * 2.0**-shift
    signed = m * unit / source.scale
    bias = (c - ((1 << shift) >> 1) - (out.zero << shift)).astype(np.float64) * unit
    scale = np.maximum(np.abs(signed), np.maximum(np.abs(bias) / (source.scale * BIAS_LIMIT), SMALLEST))
    factor = (signed / scale).reshape(
        -1, *(1,) * (weight.ndim - 1)
    )  # 1; -1 for a negative m; near 0 for a dead channel
    codes = np.clip(np.rint(weight * factor), -128, 127).astype(np.int8)
    scale = scale.astype(np.float32)
    return Layer(codes, scale, np.rint(bias / (scale.astype(np.float64) * source.scale)).astype(np.int32))


@dataclass(frozen=True)
class Windows:
    """An average over equal windows: ``kernel`` and ``stride``, no padding; ``whole``: one window, the whole input."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    whole: bool


def windows_of(op: AvgPool, values: Mapping[str, Value]) -> Windows:
    """The windows of an average pool.

    Raises:
        ExportError: they overlap the border or differ in size, or the divisor is not the number of elements.
    """
    windows = equal_windows(op, values)
    if windows is None:
        raise unsupported(op, "its windows are not equal, or are clipped by the border")
    counted = op.m.astype(np.float64) * unit_of(op, values) / values[op.x].scale * size(windows.kernel)
    if not np.allclose(counted, 1, rtol=1e-3):
        raise unsupported(op, "its divisor is not the number of elements in the window")
    return windows


def equal_windows(op: AvgPool, values: Mapping[str, Value]) -> Windows | None:
    """The windows of an average pool; ``None``: they are clipped by the border or differ in size."""
    kernel, stride = [], []
    for ranges in (op.rows, op.columns):
        lengths, starts = ranges[:, 1] - ranges[:, 0], ranges[:, 0]
        gaps = np.diff(starts)
        if starts[0] != 0 or np.ptp(lengths) or (len(gaps) and np.ptp(gaps)):
            return None
        kernel.append(int(lengths[0]))
        stride.append(int(gaps[0]) if len(gaps) else int(lengths[0]))
    whole = tuple(kernel) == values[op.x].shape[1:]
    return Windows((kernel[0], kernel[1]), (stride[0], stride[1]), whole)


def is_depthwise(op: Conv) -> bool:
    """Whether each input channel has filters of its own."""
    return op.groups > 1 and op.weight.shape[1] == 1
