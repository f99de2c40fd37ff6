"""Adaptive rounding of one layer: master codes such that every width that cuts them gives the float layer's outputs.

Of a row of weights ``w``, whose codes at width ``b`` are ``t_b = T_b(q)``, the squared error of its outputs is

    E_b = (a t_b)' H_b (a t_b) - 2 (a t_b)' g_b + Var(y)
    H_b = Cov(x_b, x_b)     g_b = Cov(x_b, y)

where ``y`` is what the float layer gives, ``x_b`` what the layer reads at width ``b``, and ``a`` the best factor of
that row at that width. Coordinate descent changes one code of every row at a time to the one of all ``2^n`` codes that
lowers a weighted sum of these errors most: GPTQ (Frantar et al., 2023) for all widths at once, as MatGPTQ (arXiv
2602.03537) has it for language models, with exact instead of greedy updates. Means are left to the bias.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

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
        own: ``H_b``, ``[widths, groups, in, in]``.   targets: ``g_b`` of every row, ``[widths, groups, out, in]``.
        energy: ``Var(y)`` of every row, ``[groups, out]``.
        levels: codes of width ``b`` for every master code, ``[widths, 2^n]``, without midpoints.
        middles: midpoints, ``[widths, in]``.
        least: the smallest master code.
    """

    weight: Tensor
    scale: Tensor
    own: Tensor
    targets: Tensor
    energy: Tensor
    levels: Tensor
    middles: Tensor
    least: int

    def narrowed(self, q: Tensor) -> Tensor:
        """``T_b(q)`` of codes ``[groups, out, in]``, ``[widths, groups, out, in]``."""
        return self.levels[:, q - self.least] + self.middles[:, None, None]

    def fit(self, t: Tensor, products: Tensor | None = None) -> Fit:
        """The best factors of codes ``t`` and the errors they leave. ``products``: ``H_b t``, where it is known."""
        products = t @ self.own if products is None else products
        along, size = (t * self.targets).sum(-1), (t * products).sum(-1)
        a = torch.where(size > TINY, along / size.clamp_min(TINY), self.scale)
        return Fit(a, a.square() * size - 2 * a * along + self.energy, products)


class Fit(NamedTuple):
    """What codes give: ``a`` and ``E_b`` of every row, ``[widths, groups, out]``; ``H_b t_b``, of the codes' shape."""

    factors: Tensor
    errors: Tensor
    products: Tensor


def nearest_codes(problem: Problem) -> Tensor:
    """Master codes by plain rounding, ``[groups, out, in]``."""
    q = (problem.weight / problem.scale[..., None]).round()
    return q.clamp(problem.least, -problem.least - 1).long()


def adapted(problem: Problem, sweeps: int = SWEEPS, advance: Callable[[], None] = lambda: None) -> Tensor:
    """Master codes, ``[groups, out, in]``, that lower the errors of all widths together."""
    q, products = nearest_codes(problem), None
    order = problem.own.diagonal(dim1=-2, dim2=-1).mean((0, 1)).argsort(descending=True)
    energy = problem.energy.sum().clamp_min(TINY)
    for _ in range(sweeps):
        t = problem.narrowed(q)
        factors, errors, products = problem.fit(t, products)
        weights = 1 / (errors.clamp_min(0).sum((1, 2)) / energy + HARMLESS)
        before = q.clone()
        _sweep(problem, q, t, factors, products, weights / weights.sum(), order)
        advance()
        if torch.equal(before, q):
            break
    return q


def _sweep(
    problem: Problem, q: Tensor, t: Tensor, factors: Tensor, products: Tensor, weights: Tensor, order: Tensor
) -> None:
    """Every column once, in place: ``q``, ``t`` and ``products``."""
    squares = factors.square()
    for columns in torch.split(order, BLOCK):
        own = problem.own[..., columns, :]
        gradient = squares[..., None] * products[..., columns] - factors[..., None] * problem.targets[..., columns]
        slopes, codes, cuts = (
            x.movedim(-1, 0).contiguous() for x in (gradient, q[..., columns] - problem.least, t[..., columns])
        )
        inside, before = own[..., columns].movedim((-2, -1), (0, 1))[..., None], cuts.clone()
        for k, i in enumerate(columns.tolist()):
            levels = problem.levels + problem.middles[:, i, None]
            change = _column(codes[k], cuts[k], levels, slopes[k], squares * inside[k, k], weights[:, None, None])
            slopes[k + 1 :].addcmul_(squares * change, inside[k, k + 1 :])
        q[..., columns], t[..., columns] = codes.movedim(0, -1) + problem.least, cuts.movedim(0, -1)
        products += (cuts - before).movedim(0, -1) @ own


def _column(codes: Tensor, cuts: Tensor, levels: Tensor, slope: Tensor, curve: Tensor, weights: Tensor) -> Tensor:
    """The best codes of one column, in place.

    Args:
        codes: from 0, ``[groups, out]``.   cuts: what each width has of them, ``[widths, groups, out]``.
        levels: that of every code, ``[widths, codes]``.
        slope, curve: of half the errors by ``cuts``, and of their slope, ``[widths, groups, out]``.

    Returns:
        how ``cuts`` changed.
    """
    square = weights * curve
    line = 2 * (weights * slope - square * cuts)
    costs = torch.tensordot(torch.cat([square, line]), torch.cat([levels.square(), levels]), ([0], [0]))
    better = costs.amin(-1) < costs.gather(-1, codes[..., None])[..., 0]
    codes[better] = costs[better].argmin(-1)  # of these rows alone: the place takes ten times as long as the value
    after = levels[:, codes]
    change = after - cuts
    cuts.copy_(after)
    return change
