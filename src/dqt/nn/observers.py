"""From values to clips: the observers, and what they leave out of a range. Pure functions of tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from dqt.nn import fake
from dqt.nn.layers import WidthLayer
from dqt.nn.ranges import OBSERVED, TINY, Quantizer

Observer = Literal["mse", "percentile", "max"]
BINS = 2048
CANDIDATES = 64
PERCENTILE = 0.9999
MIDDLE_WIDTH = 5
"""One clip serves all widths: it is chosen at the one nearest to this."""

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
    peaks = [v.abs().flatten(1).amax(1).float() for v in values]
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


def clip_of(quantizer: Quantizer, values: Sequence[Tensor], extent: Extent, observer: Observer, b: int) -> float:
    """The clip of an activation by ``observer``; ``b``: the width that the least squared error is taken at.

    Values beyond ``extent.top`` have no vote. 0 where all values are 0.
    """
    top = extent.top if extent.top > TINY else 0.0
    if observer == "max" or not top:
        return top
    counts = sum(torch.histc(v.abs().float(), BINS, 0.0, top).double().cpu() for v in values)
    assert isinstance(counts, Tensor)
    if observer == "percentile":
        index = int(torch.searchsorted(counts.cumsum(0), PERCENTILE * counts.sum()))
        return top * (min(index, BINS - 1) + 1) / BINS
    counts[0] = 0.0
    centres = (torch.arange(BINS, dtype=torch.float64) + 0.5) * (top / BINS)
    clips = top * torch.linspace(1 / CANDIDATES, 1.0, CANDIDATES, dtype=torch.float64)
    errors = [
        float((counts * (_narrow(centres, c / quantizer.levels, quantizer, b) - centres) ** 2).sum()) for c in clips
    ]
    return float(clips[int(torch.tensor(errors).argmin())])


def _narrow(x: Tensor, scale: Tensor, quantizer: Quantizer, b: int) -> Tensor:
    return fake.narrow_activation(x, scale.float(), quantizer.zero, quantizer.n, b).double() * scale


def middle(widths: Sequence[int]) -> int:
    """The width that a clip for all of ``widths`` is chosen at."""
    return min(widths, key=lambda b: abs(b - MIDDLE_WIDTH))


def weight_clip(layer: WidthLayer, observer: Observer) -> Tensor:
    """Per output channel, the clip of least squared error at a middle width; the largest magnitude otherwise."""
    largest = layer._largest()
    if observer != "mse" or not layer.learned:
        return largest
    b = middle(layer.widths)
    best, best_error = largest, torch.full_like(largest, float("inf"))
    for share in torch.linspace(0.3, 1.0, 36).tolist():
        clip = largest * share
        error = (narrowed_weight(layer, clip, b) - layer.weight).square().flatten(1).sum(1)
        best = torch.where(error < best_error, clip, best)
        best_error = torch.minimum(error, best_error)
    return best


def narrowed_weight(layer: WidthLayer, clip: Tensor, b: int) -> Tensor:
    """The real weight that width ``b`` holds where the clips are ``clip``, ``[out]``."""
    scale = clip / (((1 << layer.n) - 1) / 2)
    codes = fake.narrow_weight(layer.weight, scale, layer.n, b, getattr(layer, f"midpoint_{b}"))
    return codes * fake.per_channel(scale, layer.weight)
