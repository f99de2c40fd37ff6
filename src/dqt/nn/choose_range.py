"""From the values of an activation to its range: clip, zero point, and the part of the range that each width reads.

The clip belongs to the master width. A lower width that wants a smaller range reads a part of it (docs/numerics.md,
equation 36), which costs kernels their short cuts for few bits: it does so where its error falls clearly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dqt.arith.nested import MAX_EXPONENT
from dqt.nn.histogram import OCTAVE, Histogram, clips_below, histogram
from dqt.nn.observers import PERCENTILE, Extent, Observer
from dqt.nn.ranges import TINY, Quantizer, levels_of
from dqt.nn.zeros import FARTHEST, Readers, middle_widths

MASTER_OCTAVES = 1.5
"""The clip lies at most so far below the largest value."""
SLACK = 1.6
"""How much of the master's least error may be given up for lower widths: 2 dB."""
NEXT_TO_0 = 0.02
"""A range that begins so near to 0, as a part of its reach, begins at 0."""
CLEARLY = 0.7
"""A width reads a part of the range where that leaves at most this part of its squared error."""


@dataclass(frozen=True)
class Range:
    """What calibration sets of a quantizer, and of the layers that read it.

    Attributes:
        clip: 0 where all values are 0.   zero: the zero point.   exponents: width -> exponent; 0 of all others.
    """

    clip: float
    zero: int
    exponents: Mapping[int, int] = field(default_factory=dict)


def choose_range(
    quantizer: Quantizer,
    values: Sequence[Tensor],
    extent: Extent,
    observer: Observer,
    readers: Readers,
    widths: Sequence[int],
    through: Callable[[Tensor], Tensor] | None = None,
) -> Range:
    """The range of an activation by ``observer``. Values beyond ``extent.top`` have no vote.

    Args:
        widths: all that its readers may be given, whose exponents are chosen.
        through: what all readers make of a value, whose error counts; None: that of the value itself.
    """
    top = extent.top if extent.top > TINY else 0.0
    if not top:
        return Range(0.0, quantizer.zero)
    signed = quantizer.kind == "signed"
    if observer == "max" and not signed:
        return Range(top, 0)
    seen = histogram(values, top, signed=signed, through=through)
    if observer == "mse":
        free = signed and readers.free
        return _free(seen, readers) if free else _on_grid(seen, readers, widths, signed=signed)
    low, high = (
        (seen.low, seen.high) if observer == "max" else (seen.quantile(1 - PERCENTILE), seen.quantile(PERCENTILE))
    )
    return _covering(low, high, readers, signed=signed)


def _covering(low: float, high: float, readers: Readers, *, signed: bool) -> Range:
    """The finest range that has all of ``[low, high]``."""
    if signed and readers.free:
        return _between(low, high, readers)
    zeros = [zero for zero in (readers.zeros if signed else (0,)) if low >= 0 or zero > 0 or not signed]
    found = [(_cover(low, high, zero, readers.n), zero) for zero in zeros]
    scale, zero = min(found)
    return Range(scale * levels_of(zero, readers.n), zero)


def _cover(low: float, high: float, zero: int, n: int) -> float:
    """The scale at which nothing of ``[low, high]`` saturates, apart from what has no codes at all."""
    above, below = max(high, 0.0) / max((1 << n) - 1 - zero, 0.5), max(-low, 0.0) / zero if zero else 0.0
    return max(above, below, TINY)


def _between(low: float, high: float, readers: Readers) -> Range:
    """Zero point and clip of a range whose ends are next to these."""
    n, most = readers.n, (1 << readers.n) - 1
    if NEXT_TO_0 * high > low > 0 or NEXT_TO_0 * low < high < 0:
        low, high = min(low, 0.0), max(high, 0.0)
    if not readers.anywhere:
        low, high = min(low, 0.0), max(high, 0.0)
    elif low > 0:  # so that the zero point is not too far away
        low = min(low, high * FARTHEST / (1 + FARTHEST))
    elif high < 0:
        high = max(high, low * FARTHEST / (1 + FARTHEST))
    scale = max((high - low) / most, TINY)
    zero = round(-low / scale)
    return Range(scale * levels_of(zero, n), zero)


def _free(seen: Histogram, readers: Readers) -> Range:
    """At the master width alone: the range of least error, wherever it lies; both ends together, then each."""
    middle, half = (seen.high + seen.low) / 2, (seen.high - seen.low) / 2
    shares = clips_below(1.0, MASTER_OCTAVES).tolist()

    def best(ends: list[tuple[float, float]]) -> tuple[float, float]:
        tried = [_between(middle - half * below, middle + half * above, readers) for below, above in ends]
        errors = [seen.errors(torch.tensor([r.clip], dtype=torch.float64), r.zero, readers.n, readers.n) for r in tried]
        return ends[int(torch.cat(errors).argmin())]

    _, above = best([(share, share) for share in shares])
    below, _ = best([(share, above) for share in shares])
    below, above = best([(below, share) for share in shares])
    return _between(middle - half * below, middle + half * above, readers)


def _on_grid(seen: Histogram, readers: Readers, widths: Sequence[int], *, signed: bool) -> Range:
    """The zero point and clip whose lower widths are best, among those that suit the master width."""
    curves = list(_curves(seen, readers, widths, signed=signed))
    octaves = MASTER_OCTAVES + MAX_EXPONENT if readers.one_range else MASTER_OCTAVES
    count, n = int(octaves * OCTAVE) + 1, readers.n
    least = min(float(curve.at[n][:count].min()) for curve in curves)
    slack = float("inf") if readers.one_range else SLACK
    allowed = max(least * slack, TINY)
    best, chosen = float("inf"), Range(0.0, 0)
    for curve in curves:
        score = (
            torch.stack([curve.best(b, count, readers.parts)[0] for b in judging(readers)]).clamp_min(TINY).log().sum(0)
        )
        score = torch.where(curve.at[n][:count] <= allowed, score, float("inf"))
        j = int(score.argmin())
        if float(score[j]) < best:
            best = float(score[j])
            exponents = {b: int(curve.best(b, count, readers.parts)[1][j]) for b in widths}
            chosen = Range(float(curve.clips[j]), curve.zero, {b: e for b, e in exponents.items() if e})
    return chosen


def judging(readers: Readers) -> tuple[int, ...]:
    """The widths that a clip is judged at: all; the middle ones, where one range is to serve them all."""
    return middle_widths(readers.widths) if readers.one_range else readers.widths


@dataclass(frozen=True, eq=False)
class _Curve:
    """Errors with one zero point: of each width, for every clip."""

    zero: int
    n: int
    clips: Tensor
    at: Mapping[int, Tensor]

    def best(self, b: int, count: int, parts: bool) -> tuple[Tensor, Tensor]:
        """Least error, and its exponent, at width ``b`` for each of the first ``count`` clips."""
        most = min(MAX_EXPONENT, self.n - b) if parts else 0
        rows = [self.at[b][e * OCTAVE : e * OCTAVE + count] for e in range(most + 1)]
        judged = torch.stack([rows[0], *(row / CLEARLY for row in rows[1:])])
        exponents = judged.argmin(0)
        return torch.stack(rows).gather(0, exponents[None])[0], exponents


def _curves(seen: Histogram, readers: Readers, widths: Sequence[int], *, signed: bool) -> Iterator[_Curve]:
    """For every zero point that has codes where values are.

    With an exponent, a clip is as good as a clip that much smaller: the levels are the same ones.
    """
    for zero in readers.zeros if signed else (0,):
        scale = _cover(seen.low, seen.high, zero, readers.n)
        clips = clips_below(scale * levels_of(zero, readers.n), MASTER_OCTAVES + MAX_EXPONENT)
        yield _Curve(
            zero, readers.n, clips, {b: seen.errors(clips, zero, readers.n, b) for b in {*widths, *readers.widths}}
        )
