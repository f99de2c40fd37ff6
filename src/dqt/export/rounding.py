"""The rounding of a program in ONNX: ``clamp((sum(x * factor) + offset) >> shift, lo, hi)``, exact in float64 or int64.

Where every number stays below 2^53, float64 holds ``v * 2^-shift`` exactly. A cast to int32 rounds towards zero, which
is down wherever no number is negative. Then ``QuantizeLinear`` with the scale 1 saturates integers to uint8: of all
operators that do, it reads and writes the fewest bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dqt.export.graph import Graph

EXACT = 1 << 53
"""Integers of a smaller magnitude are exact in float64, in which sums and roundings are faster than in int64."""
WORD = 1 << 31
"""Where int32 ends."""
MANY = 32
"""As many constants are worth the nodes that make them from fewer bytes."""
CODES = (0, 255)


@dataclass(frozen=True)
class Terms:
    """``sum(tensor * factor) + offset``, before ``>> shift``.

    Attributes:
        parts: integer tensors and their factors.
        offset: of the shape of a factor.
        reach: the largest magnitude of the sum, of its parts, and of the partial sums.
    """

    parts: Sequence[tuple[str, npt.ArrayLike]]
    offset: npt.ArrayLike
    shift: int
    reach: int

    def less(self, number: int) -> Terms:
        """The same with ``number`` taken from what is left after the shift."""
        by = number << self.shift
        return Terms(self.parts, np.asarray(self.offset, dtype=np.int64) - by, self.shift, self.reach + abs(by))


def rounded(g: Graph, v: Terms, lo: int, hi: int, out: str) -> None:
    """``clamp(v >> shift, lo, hi)`` becomes the value ``out``."""
    if v.less(min(lo, 0)).reach >= EXACT:
        g.node("Cast", [_shifted(g, v, lo, hi)], out, to=_kind(g, out))
    elif g.values[out].coded and v.reach >> v.shift < WORD:
        saturated(g, g.cast(g.cast(_double(g, v), "INT32"), "FLOAT"), lo, hi, out)
    else:
        _whole(g, v, lo, hi, out)


def saturated(g: Graph, x: str, lo: int, hi: int, out: str, scale: float | np.float32 = 1.0) -> None:
    """``x / scale`` in float32, rounded half to even and clamped to ``[lo, hi]``, becomes the codes ``out``."""
    clamped(g, g.node("QuantizeLinear", [x, g.constant(np.float32(scale)), g.constant(np.uint8(0))]), lo, hi, out)


def clamped(g: Graph, x: str, lo: int, hi: int, out: str) -> None:
    """uint8 clamped to ``[lo, hi]`` becomes the codes ``out``; ``x`` is what the last node made."""
    if (lo, hi) == CODES:
        g.nodes[-1].output[0] = out
    else:
        g.node("Clip", [x, *(g.constant(np.uint8(bound)) for bound in (lo, hi))], out)


def _kind(g: Graph, out: str) -> int:
    return int(g.onnx.TensorProto.UINT8 if g.values[out].coded else g.onnx.TensorProto.INT32)


def _whole(g: Graph, v: Terms, lo: int, hi: int, out: str) -> None:
    """In float64, clamped before the cast; negative numbers are raised first, so that the cast rounds them down."""
    less = lo if lo < 0 and hi - lo < WORD else 0
    bounds = [g.constant(np.float64(bound)) for bound in (lo - less, hi - less + 1 - 2.0**-v.shift)]
    x = g.node("Clip", [_double(g, v.less(less)), *bounds])
    x = g.node("Floor", [x]) if lo - less < 0 else x
    y = g.node("Cast", [x], "" if less else out, to=_kind(g, out))
    if less:
        g.node("Add", [y, g.constant(np.int32(less))], out)


def _double(g: Graph, v: Terms) -> str:
    """``v * 2^-shift`` in float64. With a factor by channel ``BatchNormalization`` has product and sum in one pass."""
    factors = [np.asarray(factor, dtype=np.int64) for _, factor in v.parts]
    offset = np.asarray(v.offset, dtype=np.int64)
    tensors = [g.cast(tensor, "DOUBLE") for tensor, _ in v.parts]
    if len(factors) == 1 and _by_channel(factors[0], offset):
        count = g.constant([len(offset)], np.int64)
        zeros, ones = (g.node("Expand", [g.constant(np.float64(each)), count]) for each in (0, 1))
        ins = [reals(g, factors[0].ravel(), v.shift), reals(g, offset.ravel(), v.shift), zeros, ones]
        return g.node("BatchNormalization", [*tensors, *ins], epsilon=0.0)
    terms = [g.node("Mul", [x, reals(g, k, v.shift)]) for x, k in zip(tensors, factors, strict=True)]
    total = terms[0]
    for term in (*terms[1:], reals(g, offset, v.shift)):
        total = g.node("Add", [total, term])
    return total


def _by_channel(factor: npt.NDArray[np.int64], offset: npt.NDArray[np.int64]) -> bool:
    return factor.shape == offset.shape and factor.ndim > 1 and factor.size == len(factor) > 1


def reals(g: Graph, integers: npt.NDArray[np.int64], shift: int) -> str:
    """``integers * 2^-shift`` in float64; many that fit int32 are stored as such, and the graph makes the rest."""
    unit = 2.0**-shift
    if integers.size < MANY or int(np.abs(integers).max()) >= WORD:
        return g.constant(integers * unit, np.float64)
    return g.node("Mul", [g.cast(g.constant(integers, np.int32), "DOUBLE"), g.constant(np.float64(unit))])


def _shifted(g: Graph, v: Terms, lo: int, hi: int) -> str:
    """In int64: clamp first, then shift numbers that are not negative; ONNX shifts unsigned integers alone."""
    total = ""
    for tensor, factor in v.parts:
        term = g.node("Mul", [g.cast(tensor, "INT64"), g.constant(factor, np.int64)])
        total = g.node("Add", [total, term]) if total else term
    total = g.node("Add", [total, g.constant(v.offset, np.int64)])
    least, most = lo << v.shift, ((hi + 1) << v.shift) - 1
    clamped = g.node("Clip", [total, *(g.constant(np.int64(bound)) for bound in (least, most))])
    positive = g.cast(g.node("Sub", [clamped, g.constant(np.int64(least))]), "UINT64")
    y = g.node("BitShift", [positive, g.constant(np.uint64(v.shift))], direction="RIGHT")
    return g.node("Add", [g.cast(y, "INT64"), g.constant(np.int64(lo))])
