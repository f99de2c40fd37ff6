"""The values of an activation as a histogram, and what quantizing them costs at each width, range and zero point."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from dqt.arith.nested import narrow_activation
from dqt.nn.ranges import levels_of

BINS = 2048
OCTAVE = 8
"""Clips are tried in steps of this part of an octave, so that an exponent is this many steps."""


@dataclass(frozen=True, eq=False)
class Histogram:
    """How often values of an activation occur, values that are exactly 0 aside: every width represents them.

    Attributes:
        counts: float64 ``[BINS]``.   low, high: the ends of the first and the last bin.
        through: what all readers make of a value, whose error counts; None: that of the value itself.
    """

    counts: Tensor
    low: float
    high: float
    through: Callable[[Tensor], Tensor] | None = None

    @cached_property
    def centres(self) -> Tensor:
        """Of the bins, float64 ``[BINS]``."""
        return self.low + (torch.arange(BINS, dtype=torch.float64) + 0.5) * ((self.high - self.low) / BINS)

    @property
    def reach(self) -> float:
        """The largest magnitude."""
        return max(abs(self.low), abs(self.high))

    def quantile(self, part: float) -> float:
        """The end of the bin below which ``part`` of the values lie."""
        index = int(torch.searchsorted(self.counts.cumsum(0), part * self.counts.sum()))
        return self.low + (min(index, BINS - 1) + 1) * (self.high - self.low) / BINS

    @cached_property
    def _occupied(self) -> tuple[Tensor, Tensor]:
        some = self.counts > 0
        return (self.centres[some] / self.reach).float(), self.counts[some].float()

    def errors(self, clips: Tensor, zero: int, n: int, b: int) -> Tensor:
        """The sum of squared errors at width ``b`` for every clip, float64 ``[clips]``.

        Args:
            clips: float64 ``[clips]``; the scale is the clip over ``levels_of(zero, n)``.

        Returns:
            in units of the squared reach, so that they are numbers whatever the size of the values.
        """
        centres, counts = self._occupied
        scales = (clips / (levels_of(zero, n) * self.reach)).float()[:, None]
        q = (centres / scales).round_().add_(zero).clamp_(0, (1 << n) - 1).to(torch.int16)
        real = (narrow_activation(q, n, b) - zero).float().mul_(scales)
        if self.through is not None:
            real, centres = (self.through(each * self.reach) / self.reach for each in (real, centres))
        return real.sub_(centres).square_().mul_(counts).sum(1, dtype=torch.float64)


def histogram(
    values: Sequence[Tensor], top: float, *, signed: bool, through: Callable[[Tensor], Tensor] | None = None
) -> Histogram:
    """Of batches of values; those whose magnitude is above ``top`` have no vote.

    Args:
        signed: whether negative values are represented.
    """
    low, high = _ends(values, top, signed=signed)
    counts = torch.zeros(BINS, dtype=torch.float64)
    zeros, unit = 0, 1.0 if 1e-30 < top < 1e30 else top  # a difference of two float32 numbers must be one
    for v in (each.detach().float() for each in values):
        counts += torch.histc(v if unit == 1 else v / unit, BINS, low / unit, high / unit).double().cpu()
        zeros += v.numel() - int(torch.count_nonzero(v))
    if low <= 0 <= high:
        at = min(int(-low / (high - low) * BINS), BINS - 1)
        counts[at] = max(0.0, float(counts[at]) - zeros)
    return Histogram(counts, low, high, through)


def _ends(values: Sequence[Tensor], top: float, *, signed: bool) -> tuple[float, float]:
    """The smallest and the largest value with a vote: an interval that is not empty."""
    low = max(min(float(v.min()) for v in values), -top) if signed else 0.0
    high = min(max(float(v.max()) for v in values), top)
    return (low, high) if high - low > 1e-6 * top else (min(low, 0.0), max(high, 0.0))


def clips_below(top: float, octaves: float) -> Tensor:
    """``top`` and clips below it, geometric, float64."""
    return top * 2.0 ** (-torch.arange(int(octaves * OCTAVE) + 1, dtype=torch.float64) / OCTAVE)
