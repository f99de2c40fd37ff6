"""The observers, and what they leave out of a range. Pure functions of tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from dqt.nn.ranges import OBSERVED, TINY

Observer = Literal["mse", "percentile", "max"]
PERCENTILE = 0.9999
OUTLIER_RATIO = 8.0
"""A sample is an outlier where its peak is this many times the peaks of nearly all samples: kept, it costs 3 bits."""
OUTLIER_SAMPLES = 0.02
"""At most this fraction of the samples (of four or more: at least one) are outliers; more of them are the data."""
STRAY_RATIO, STRAY_VALUES, STRAY_SAMPLES = 32.0, 1e-4, 0.1
"""Of an input also its single values: this many times larger than all others (5 bits), at most this fraction of them,
in at most this fraction of the samples or at the same places of most samples, as a broken pixel is."""


@dataclass(frozen=True)
class Outlier:
    """The largest of the values that an observer leaves out.

    Attributes:
        value: with its sign.   batch, sample: where it is, the sample within its batch.   channel: its index in
            dimension 1.   count: how many samples hold such a value.   others: the largest magnitude of the rest.
    """

    value: float
    batch: int
    sample: int
    channel: int
    count: int
    others: float


@dataclass(frozen=True)
class Extent:
    """How large the values of one activation are.

    Attributes:
        largest: magnitude of all values.   peak: mean, over groups of ``OBSERVED`` samples, of the largest magnitude.
        outlier: ``None`` where there is none.   kept: whether the range represents outliers nevertheless.
    """

    largest: float
    peak: float
    outlier: Outlier | None = None
    kept: bool = False

    @property
    def top(self) -> float:
        """The largest magnitude that a range may have to represent; what is larger saturates there."""
        return self.outlier.others if self.outlier and not self.kept else self.largest


def extent_of(values: Sequence[Tensor], observer: Observer, *, strays: bool = False) -> Extent:
    """Measure batches ``[N, ...]`` of one activation.

    ``observer``: ``"max"`` keeps outliers. ``strays``: single values, too, may be outliers. Right for an input; inside
    of a network a value as rare as that is what a detector looks for.
    """
    samples_of = [v.flatten(1) for v in values]
    peaks = [torch.maximum(-v.amin(1), v.amax(1)).float() for v in samples_of]
    samples = torch.cat(peaks)
    largest = float(samples.max())
    limit = _limit(samples)
    if strays and limit >= largest:
        limit = _stray_limit(values, largest)
        limit = limit if limit < largest and _are_strays(values, samples, limit) else float("inf")
    outlier = _outlier(values, peaks, limit) if limit < largest < float("inf") else None
    groups = torch.stack([group.amax() for each in peaks for group in torch.split(each, OBSERVED)]).double()
    found = Extent(largest, float(groups.mean()), outlier, observer == "max")
    return replace(found, peak=float(groups.clamp_max(found.top).mean()))


def _limit(samples: Tensor) -> float:
    """What is larger is an outlier, by the largest magnitudes ``[N]`` of all samples; infinite: nothing is."""
    count = len(samples)
    allowed = 0 if count < 4 else max(1, int(OUTLIER_SAMPLES * count))
    usual = float(samples.topk(allowed + 1).values[-1])
    return OUTLIER_RATIO * usual if allowed and usual > TINY else float("inf")


def _stray_limit(values: Sequence[Tensor], largest: float) -> float:
    """The same by single values. The quantile comes from a histogram whose bins are an eighth of an octave."""
    if largest == float("inf"):
        return largest
    counts = torch.zeros(1 << 12, dtype=torch.int64)
    for v in values:
        magnitudes = v.abs().float().flatten()
        keys = magnitudes[magnitudes > TINY].view(torch.int32) >> 20  # exponent and three bits of the mantissa
        counts += torch.bincount(keys, minlength=len(counts)).cpu()
    allowed = int(STRAY_VALUES * int(counts.sum()))
    if not allowed:
        return float("inf")
    key = int(torch.searchsorted(counts.cumsum(0), int(counts.sum()) - allowed))
    usual = float(torch.tensor((key + 1) << 20, dtype=torch.int32).view(torch.float32))  # the bin's upper end
    return STRAY_RATIO * usual


def _are_strays(values: Sequence[Tensor], samples: Tensor, limit: float) -> bool:
    """Not where most samples have one, each at a place of its own: that is what is looked for, such as a star."""
    if int((samples > limit).sum()) <= STRAY_SAMPLES * len(samples):
        return True
    hits = torch.stack([(v.abs() > limit).sum(0) for v in values]).sum(0)
    return 2 * int((hits > 0).sum()) <= int(hits.sum())


def _outlier(values: Sequence[Tensor], peaks: Sequence[Tensor], limit: float) -> Outlier:
    batch = max(range(len(peaks)), key=lambda i: float(peaks[i].max()))
    sample = int(peaks[batch].argmax())
    flat = values[batch][sample].flatten()
    place = int(flat.abs().argmax())
    channel = place // max(1, flat.numel() // values[batch].shape[1])
    others = max(float(torch.where(v.abs() > limit, 0.0, v.abs()).max()) for v in values)
    count = sum(int((each > limit).sum()) for each in peaks)
    return Outlier(float(flat[place]), batch, sample, channel, count, others)
