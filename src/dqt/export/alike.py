"""Whether float32 rounds the sums of a layer as its program does, and with what numbers (docs/numerics.md, fact 13).

``round(float32(sum + bias) * scale)`` never falls as the sum grows if ``scale > 0``, and neither do the integers. So
they are equal for all sums if they are at those where a code begins, and at those one below.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from dqt.arith.bounds import INT32, Bound
from dqt.arith.ratio import ROOM, UNIT, nearest_odd

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
ULPS = (0, 1, -1)
"""What is added to a scale, in units of its last place."""
NOTHING = 2.0**-100
"""A scale of which no sum makes a result."""
FAR = 2**30
"""The bias of a channel whose result is one code, if that is not the zero point."""


@dataclass(frozen=True, eq=False)
class Numbers:
    """By output channel: ``round(float32(sum + bias) * scale)``, half to even, plus the zero point is the code.

    ``scale``: float32 ``[O]``; ``bias``: int32 ``[O]``.
    """

    scale: Floats
    bias: npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Rises:
    """Channels whose code rises with ``n = sum + bias``: where each code begins, and between what ``n`` lies.

    Attributes:
        m: above 0, ``[O]``.   bias: ``[O]``.   begins: ``[O, codes - 1]``.   start, end: ``[O, 1]``, of ``n``.
        levels: the codes that begin, less the zero point, ``[codes - 1]``.
    """

    m: Ints
    bias: Ints
    begins: Ints
    start: Ints
    end: Ints
    levels: Ints

    def some(self, rows: npt.NDArray[np.bool_]) -> Rises:
        """Of these channels alone."""
        own = {name: getattr(self, name)[rows] for name in ("m", "bias", "begins", "start", "end")}
        return Rises(**own, levels=self.levels)

    def right(self, scale: Floats) -> npt.NDArray[np.bool_]:
        """The channels that this scale ``[O]`` rounds as the integers do, in float32 and in float64."""
        first, last = np.maximum(self.begins, self.start), np.minimum(self.begins - 1, self.end)
        found = np.ones(len(self.m), bool)
        for kind in ("f4", "f8"):
            factor = scale[:, None].astype(kind)
            above = np.rint(first.astype(kind) * factor) >= self.levels
            below = np.rint(last.astype(kind) * factor) < self.levels
            found &= ((above | (self.begins > self.end)) & (below | (self.begins <= self.start))).all(axis=1)
        return found


def numbers(m: Ints, c: Ints, bound: Bound, shift: int, zero: int, lo: int, hi: int) -> Numbers | None:
    """The numbers that stand for ``clamp((sum * m + c) >> shift, lo, hi)``, if there are any.

    Args:
        m, c: int64 ``[O]``.   bound: of the sums.
        zero: the zero point of the codes, in ``[0, 255]``.   lo, hi: their range.
    """
    offset = c - ((1 << shift) >> 1) - (zero << shift)
    rise = np.maximum(np.abs(m), 1)
    bias = offset // rise
    ends = np.where(m < 0, -bound.hi, bound.lo), np.where(m < 0, -bound.lo, bound.hi)
    first, last = (((np.where(m == 0, 0, end) * rise + c) >> shift).clip(lo, hi) for end in ends)
    still = first == last
    if not ((offset % rise == 0) | still).all() or not 0 <= zero <= 255:
        return None
    levels = np.arange(lo + 1, hi + 1) - zero
    begins = -((((1 << shift) >> 1) - (levels << shift)) // rise[:, None])
    start, end = ((each + bias)[:, None] for each in ends)
    rises = Rises(rise, bias, begins, start, end, levels)
    scale = np.zeros(len(m), np.float32)
    scale[~still] = _scales(rises.some(~still), shift)
    scale[still], bias[still] = _of_one_code(first[still] - zero)
    wide = np.abs(bias) + np.maximum(np.abs(bound.lo), np.abs(bound.hi)) > INT32
    alone = (np.abs(bound.hi) + np.abs(bound.lo)) * scale.astype(np.float64) < 0.49
    if wide.any() or (scale == 0).any() or not (alone | ~still).all():
        return None
    falls = (m < 0) & ~still
    return Numbers(np.where(falls, -scale, scale), np.where(falls, -bias, bias).astype(np.int32))


def _of_one_code(k: Ints) -> tuple[Floats, Ints]:
    """Scales and biases that give ``k`` whatever small number is added to the bias."""
    dead = k == 0
    scale = np.where(dead, NOTHING, np.maximum(np.abs(k), 1) / FAR).astype(np.float32)
    return scale, np.where(dead, 0, np.sign(k) * FAR)


def _scales(rises: Rises, shift: int) -> Floats:
    """A right scale for each channel; 0 where none is found."""
    found = np.zeros(len(rises.m), np.float32)
    for scale in _candidates(rises, shift):
        left = found == 0
        if not left.any():
            break
        right = rises.some(left).right(scale[left])
        found[np.flatnonzero(left)[right]] = scale[left][right]
    return found


def _candidates(rises: Rises, shift: int) -> Iterator[Floats]:
    """The multiplier and its neighbours; then fractions that it may come from, which a small multiplier hides."""
    unit = (rises.m * 2.0**-shift).astype(np.float32)
    for ulps in ULPS:
        yield (unit + ulps * np.spacing(unit)).astype(np.float32)
    yield (1 / nearest_odd(UNIT / rises.m)).astype(np.float32)
    reach = int(np.abs(rises.levels).max(initial=1))
    yield np.array([_fraction(m, shift, reach) for m in rises.m.tolist()], np.float32)


def _fraction(m: int, shift: int, reach: int) -> float:
    return float(Fraction(m, 1 << shift).limit_denominator((ROOM - 1) // reach))
