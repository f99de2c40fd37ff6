"""From the weights of a layer to their clip, rule, and the part of the range that each width reads.

The clip belongs to the master width: the largest code stands for the largest magnitude, or for one next to it. Weights
that were quantized to as many bits before keep their values. Widths of few bits want a smaller range, which they get by
an exponent (docs/numerics.md, equations 34 and 35), the same for all channels. Errors are those that remain when each
channel is multiplied by the best factor: the requantization of each width can do that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import inf

import torch
from torch import Tensor

from dqt.arith.nested import MAX_EXPONENT, limits
from dqt.nn.config import Rule
from dqt.nn.layers import WidthLayer
from dqt.nn.observers import Observer
from dqt.nn.reading import plain_reading
from dqt.nn.zeros import middle_widths

MOST_WEIGHTS = 128
"""Of a channel that have a vote."""
FEW_BITS = 4
"""Above this width no weights gain by a smaller range."""
SHARES = tuple(2.0 ** (-j / 8) for j in range(4))
"""Clips to try, as parts of the largest magnitude."""
SHARES_OF_ONE = tuple(torch.linspace(0.3, 1.0, 29).tolist())
"""Clips to try where one serves all widths."""
SLACK = 1.25
"""How much of the master's least error a channel may give up for lower widths: 1 dB."""
TINY = 1e-12
CLEARLY = 0.8
"""An exponent, or the nearest rule, is chosen where it leaves at most this part of the squared error: both cost kernels
their short cuts."""


@dataclass(frozen=True, eq=False)
class Weights:
    """What calibration sets of a layer's weights: ``clip``, ``[out]`` > 0, rule and exponents."""

    clip: Tensor
    nearest: bool
    exponents: tuple[int, ...]


def choose_weights(
    layer: WidthLayer, widths: Sequence[int], observer: Observer, rule: Rule = "auto", *, parts: bool = True
) -> Weights:
    """By the squared error of the weights; ``"max"`` and ``"percentile"`` keep the clip of the largest magnitude.

    Args:
        widths: those that plans give the layer; its others have exponent 0.
        parts: widths may read a part of the range; otherwise one clip, chosen at the middle widths, serves all.
    """
    largest, none = layer._largest() * reach(layer.n), plain_reading(layer.widths).weights
    low = [b for b in widths if b < layer.n and b <= FEW_BITS]
    if not low:
        return Weights(largest, rule == "nearest", none)
    free = observer == "mse" and layer.learned
    shares = (SHARES if parts else SHARES_OF_ONE) if free else (1.0,)
    rows = layer.weight.detach().flatten(1) / largest[:, None]
    allowed = _allowed(rows, shares, layer.n) if parts else None
    search = _Search(_some(rows), shares, layer.n, low if parts else middle_widths(widths), allowed)
    rules = (False, True) if rule == "auto" else (rule == "nearest",)
    found = [search.best(nearest) for nearest in rules]
    which = int(len(found) > 1 and found[1].error < CLEARLY * found[0].error)
    exponents = tuple(found[which].exponents.get(b, 0) for b in layer.widths)
    clip = largest * torch.tensor(shares, device=largest.device)[found[which].share]
    return Weights(clip, rules[which], exponents)


def reach(n: int) -> float:
    """The clip at which the largest code stands for 1: the range ends half a code above it."""
    return ((1 << n) - 1) / ((1 << n) - 2)


def _some(rows: Tensor) -> Tensor:
    """Evenly spread weights of each channel, ``[out, most]``."""
    if rows.shape[1] <= MOST_WEIGHTS:
        return rows
    places = (torch.arange(MOST_WEIGHTS, device=rows.device) * rows.shape[1]) // MOST_WEIGHTS
    return rows[:, places]


def _allowed(rows: Tensor, shares: Sequence[float], n: int) -> Tensor:
    """Which clips suit the master width, bool ``[shares, out]``: all weights have a vote, the largest above all."""
    errors, (least, most) = [], limits(n, signed=True)
    for share in shares:
        u = rows * (((1 << n) - 1) / 2 / share)
        codes = u.round().clamp_(least, most)
        errors.append(codes.sub_(u).square_().sum(1) * share**2)
    each = torch.stack(errors)
    return each <= SLACK * each.amin(0)


@dataclass(frozen=True, eq=False)
class _Found:
    """What was minimized, the geometric mean of the errors, the index of each channel's share, exponents by width."""

    judged: float
    error: float
    share: Tensor
    exponents: dict[int, int]


@dataclass(frozen=True, eq=False)
class _Search:
    """The search over clips and exponents.

    Attributes:
        units: weights over the largest of their channel, ``[out, some]``.   shares: clips in the same unit.
        low: the widths that are judged.
        allowed: the shares that suit the master, bool ``[shares, out]``; None: all do, and no width has an exponent.
    """

    units: Tensor
    shares: Sequence[float]
    n: int
    low: Sequence[int]
    allowed: Tensor | None

    def best(self, nearest: bool) -> _Found:
        """Exponents, and a share for each channel, of the least error relative to what each width can reach."""
        errors, judged = [], []
        for b in self.low:
            most = 0 if self.allowed is None else min(MAX_EXPONENT, self.n - b)
            each = torch.stack([self._errors(b, e, nearest) for e in range(most + 1)])  # [exponents, shares, out]
            errors.append(each)
            cost = torch.full((most + 1, 1, 1), 1 / CLEARLY, device=each.device)
            cost[0] = 1.0
            judged.append(each * cost / each.mean(2).min().clamp_min(TINY))
        found = (self._with(exponents, errors, judged) for exponents in product(*(range(len(e)) for e in errors)))
        return min(found, key=lambda each: each.judged)

    def _with(self, exponents: tuple[int, ...], errors: list[Tensor], judged: list[Tensor]) -> _Found:
        """The best shares with these exponents."""
        total = torch.stack([each[e] for each, e in zip(judged, exponents, strict=True)]).sum(0)
        least, share = (total if self.allowed is None else total.where(self.allowed, total.new_tensor(inf))).min(0)
        left = torch.stack([each[e].gather(0, share[None]).mean() for each, e in zip(errors, exponents, strict=True)])
        error = float(left.clamp_min(TINY).log().mean().exp())
        return _Found(float(least.mean()), error, share, dict(zip(self.low, exponents, strict=True)))

    def _errors(self, b: int, e: int, nearest: bool) -> Tensor:
        """The part of each channel's energy that is lost at width ``b`` with exponent ``e``, ``[shares, out]``."""
        half, rows = 1 << (b - 1), []
        energy = self.units.square().sum(1).clamp_min(1e-30)
        for share in self.shares:
            u = self.units * (half * 2.0**e / share)
            t = u.round_() if nearest else u.floor_().add_(0.5)
            t.clamp_(-half + (0 if nearest else 0.5), half - (1 if nearest else 0.5))
            along, size = (self.units * t).sum(1), t.square_().sum(1)
            rows.append(1 - along.clamp_min(0).square() / (size * energy).clamp_min(1e-30))
        return torch.stack(rows)
