"""The instructions of an integer program: frozen dataclasses, one per operator.

Values are named once (SSA). A *code* value holds unsigned n-bit integers ``[0, 2^n - 1]`` that stand for
``step * (q - zero)``; a *wide* value holds signed integers within 24 bits with ``zero = 0`` (an output before its
dequantization, a controller's logits). Shapes leave out the batch: ``(C, H, W)``, ``(features,)``.

Every rounding is ``clamp((acc * m + c) >> shift, lo, hi)`` (docs/numerics.md, equation 8).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Int8 = npt.NDArray[np.int8]
UInt8 = npt.NDArray[np.uint8]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Value:
    """One tensor of the program: ``step * (q - zero)``, without its batch dimension."""

    name: str
    shape: tuple[int, ...]
    step: float
    zero: int
    wide: bool = False


@dataclass(frozen=True)
class Quantize:
    """The float32 input becomes codes: ``clip(rint(x * float32(1/step)) + zero, 0, 2^n - 1)``, rint half to even."""

    x: str
    out: str


@dataclass(frozen=True, eq=False)
class Conv:
    """2-d convolution of layer ``layer`` at widths (bw, ba), requantized.

    ``acc[o] = sum T_bw(weight)[o] * (T_ba(q) - zero)``; padding contributes 0; then rows
    ``k = widths.index(min(bw, ba))`` (or the only row) of ``m`` and ``c`` requantize to ``[lo, hi]``.

    Attributes:
        weight: int8 ``[O, I / groups, KH, KW]``, master codes.
        m: int32 ``[1 or widths, O]``.   c: int64 ``[1 or widths, O]``.
        padding: top, bottom, left, right.
    """

    layer: str
    x: str
    out: str
    weight: Int8
    m: Int32
    c: Int64
    shift: int
    lo: int
    hi: int
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]
    dilation: tuple[int, int]
    groups: int


@dataclass(frozen=True, eq=False)
class Linear:
    """Matrix product over the last dimension, requantized as :class:`Conv`. ``weight``: int8 ``[O, I]``."""

    layer: str
    x: str
    out: str
    weight: Int8
    m: Int32
    c: Int64
    shift: int
    lo: int
    hi: int


@dataclass(frozen=True)
class Add:
    """``clamp((k1*a + k2*b + k3) >> shift, lo, hi)``; ``a`` and ``b`` broadcast as in NumPy (equation 11)."""

    a: str
    b: str
    out: str
    k1: int
    k2: int
    k3: int
    shift: int
    lo: int
    hi: int


@dataclass(frozen=True)
class Multiply:
    """``clamp((k1*a*b + k2*a + k3*b + k4) >> shift, lo, hi)``; broadcasts as in NumPy (equation 12)."""

    a: str
    b: str
    out: str
    k1: int
    k2: int
    k3: int
    k4: int
    shift: int
    lo: int
    hi: int


@dataclass(frozen=True, eq=False)
class Rescale:
    """Per-channel multiply-add of codes, ``clamp((m*q + c) >> shift, lo, hi)``.

    ``m``: int32 ``[C]`` along the first dimension, or ``[1]`` for all; ``c``: int64 of the same shape.
    """

    x: str
    out: str
    m: Int32
    c: Int64
    shift: int
    lo: int
    hi: int


@dataclass(frozen=True)
class Concat:
    """Values of equal step and zero, joined along ``axis`` (0 is the first dimension after the batch)."""

    xs: tuple[str, ...]
    out: str
    axis: int


@dataclass(frozen=True)
class MaxPool:
    """Largest code of each window; padding (top, bottom, left, right) never wins. Same step and zero as ``x``."""

    x: str
    out: str
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]
    dilation: tuple[int, int]


@dataclass(frozen=True, eq=False)
class AvgPool:
    """Window sums, requantized: ``acc = sum (q - zero)`` over ``rows[i] x columns[j]`` of a ``(C, H, W)`` value.

    ``m`` int32 and ``c`` int64 are ``[1, 1]`` or ``[OH, OW]`` (the divisor may depend on the window).

    Attributes:
        rows: int32 ``[OH, 2]``, the half-open range ``[first, last)`` of input rows of each output row, clipped to
            the input.   columns: int32 ``[OW, 2]``.
    """

    x: str
    out: str
    rows: Int32
    columns: Int32
    m: Int32
    c: Int64
    shift: int
    lo: int
    hi: int


@dataclass(frozen=True, eq=False)
class Table:
    """Elementwise nonlinearity: ``table[q]``, uint8 ``[2^n]``."""

    x: str
    out: str
    table: UInt8


@dataclass(frozen=True)
class Reshape:
    """The same codes in the shape of ``out``, row-major."""

    x: str
    out: str


@dataclass(frozen=True)
class Slice:
    """``x[:, start:stop:step, ...]``: one triple per dimension after the batch; steps are positive."""

    x: str
    out: str
    starts: tuple[int, ...]
    stops: tuple[int, ...]
    steps: tuple[int, ...]


@dataclass(frozen=True)
class Pad:
    """Real zeros (code ``zero``) before and after, one pair per dimension after the batch."""

    x: str
    out: str
    before: tuple[int, ...]
    after: tuple[int, ...]


@dataclass(frozen=True)
class Choose:
    """The controller's decision: for layer ``i``, ``widths[argmax(logits[i*K : (i+1)*K])]``, the first on a tie.

    ``x`` is a wide value of shape ``(len(layers) * len(widths),)``. Runs under plan "auto" alone; the layers named
    come later in the program and take the sample's own width for weights and activations.
    """

    x: str
    layers: tuple[str, ...]
    widths: tuple[int, ...]


@dataclass(frozen=True)
class Dequantize:
    """The one exit to float: ``float32(q - zero) * float32(step)``."""

    x: str


Op: TypeAlias = (
    Quantize
    | Conv
    | Linear
    | Add
    | Multiply
    | Rescale
    | Concat
    | MaxPool
    | AvgPool
    | Table
    | Reshape
    | Slice
    | Pad
    | Choose
    | Dequantize
)
