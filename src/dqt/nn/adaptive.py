"""Adaptive rounding of one layer: master codes such that every width that cuts them gives the float layer's outputs.

Of a row of weights ``w``, whose codes at width ``b`` are ``t_b = T_b(q)``, the squared error of its outputs is

    E_b = (a t_b)' H_b (a t_b) - 2 (a t_b)' G_b w + w' F w
    H_b = Cov(x_b, x_b)     G_b = Cov(x_b, x)     F = Cov(x, x)

where ``x`` is what the float layer reads, ``x_b`` what it reads at width ``b``, and ``a`` the best factor of that row
at that width. Coordinate descent changes one code of every row at a time to the one of all ``2^n`` codes that lowers a
weighted sum of these errors most: GPTQ (Frantar et al., 2023) for all widths at once, as MatGPTQ (arXiv 2602.03537)
has it for language models, with exact instead of greedy updates. Means are left to the bias.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

SWEEPS = 4
BLOCK = 64
"""Columns whose effect on later columns is added up before it is applied."""
HARMLESS = 1e-2
"""Part of a layer's energy; errors far below it need no attention, so that high widths yield to low ones."""
TINY = 1e-30


@dataclass(frozen=True, eq=False)
class Problem:
    """A layer's rows, in groups that read the same inputs, and what they read.

    Attributes:
        weight: ``[groups, out, in]``, real.   scale: ``[groups, out]`` > 0, of the master codes.
        own, cross: ``H_b`` and ``G_b``, ``[widths, groups, in, in]``.   whole: ``F``, ``[groups, in, in]``.
        levels: codes of width ``b`` for every master code, ``[widths, 2^n]``, without midpoints.
        middles: midpoints, ``[widths, in]``.
        least: the smallest master code.
    """

    weight: Tensor
    scale: Tensor
    own: Tensor
    cross: Tensor
    whole: Tensor
    levels: Tensor
    middles: Tensor
    least: int

    def narrowed(self, q: Tensor) -> Tensor:
        """``T_b(q)`` of codes ``[groups, out, in]``, ``[widths, groups, out, in]``."""
        return self.levels[:, q - self.least] + self.middles[:, None, None]

    def targets(self) -> Tensor:
        """``G_b w``, ``[widths, groups, out, in]``."""
        return self.weight @ self.cross.transpose(-1, -2)

    def energy(self) -> Tensor:
        """``w' F w`` of every row, ``[groups, out]``."""
        return ((self.weight @ self.whole) * self.weight).sum(-1)

    def factors(self, t: Tensor, targets: Tensor) -> Tensor:
        """The best ``a`` of every row at every width, ``[widths, groups, out]``."""
        along, size = (t * targets).sum(-1), ((t @ self.own) * t).sum(-1)
        return torch.where(size > TINY, along / size.clamp_min(TINY), self.scale)

    def errors(self, t: Tensor, factors: Tensor, targets: Tensor) -> Tensor:
        """``E_b`` of every row, ``[widths, groups, out]``."""
        a = factors[..., None] * t
        return ((a @ self.own) * a - 2 * a * targets).sum(-1) + self.energy()


def nearest_codes(problem: Problem) -> Tensor:
    """Master codes by plain rounding, ``[groups, out, in]``."""
    q = (problem.weight / problem.scale[..., None]).round()
    return q.clamp(problem.least, -problem.least - 1).long()


def adapted(problem: Problem, sweeps: int = SWEEPS, advance: Callable[[], None] = lambda: None) -> Tensor:
    """Master codes, ``[groups, out, in]``, that lower the errors of all widths together."""
    q, targets = nearest_codes(problem), problem.targets()
    order = problem.own.diagonal(dim1=-2, dim2=-1).mean((0, 1)).argsort(descending=True)
    for _ in range(sweeps):
        t = problem.narrowed(q)
        factors = problem.factors(t, targets)
        errors = problem.errors(t, factors, targets).clamp_min(0).sum((1, 2))
        energy = problem.energy().sum().clamp_min(TINY)
        weights = 1 / (errors / energy + HARMLESS)
        before = q.clone()
        _sweep(problem, q, t, factors, targets, weights / weights.sum(), order)
        advance()
        if torch.equal(before, q):
            break
    return q


def _sweep(
    problem: Problem, q: Tensor, t: Tensor, factors: Tensor, targets: Tensor, weights: Tensor, order: Tensor
) -> None:
    """Every column once, in place: ``q`` and ``t``."""
    a = factors[..., None]
    slope = a.square() * (t @ problem.own) - a * targets  # half the gradient of every error
    for columns in torch.split(order, BLOCK):
        near = slope[..., columns]
        changes = torch.zeros_like(near)
        own = problem.own[..., columns, :]
        inside = own[..., columns]
        for k, i in enumerate(columns.tolist()):
            change = _column(problem, q, t, a, near[..., k], inside[..., k, k], weights, i)
            changes[..., k] = change
            near += a.square() * change[..., None] * inside[..., k, None, :]
        slope += a.square() * (changes @ own)


def _column(
    problem: Problem, q: Tensor, t: Tensor, a: Tensor, slope: Tensor, curve: Tensor, weights: Tensor, i: int
) -> Tensor:
    """The best codes of one column, in place; how ``t`` changed, ``[widths, groups, out]``."""
    levels = problem.levels + problem.middles[:, i, None]  # [widths, codes]
    square = weights[:, None, None] * a[..., 0].square() * curve[..., None]
    line = 2 * (weights[:, None, None] * slope - square * t[..., i])
    costs = torch.einsum("wgo,wc->goc", square, levels.square()) + torch.einsum("wgo,wc->goc", line, levels)
    now = q[..., i] - problem.least
    best = costs.argmin(-1)
    better = costs.gather(-1, best[..., None])[..., 0] < costs.gather(-1, now[..., None])[..., 0]
    chosen = torch.where(better, best, now)
    q[..., i] = chosen + problem.least
    after = levels[:, chosen]
    change = after - t[..., i]
    t[..., i] = after
    return change
