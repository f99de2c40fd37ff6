"""The plan of least summed increase within budgets, as an exact integer linear program."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import Bounds, LinearConstraint, milp

from dqt.arith.cost import full_bitops
from dqt.arith.plan import Layer, Plan, PlanError, Space
from dqt.arith.whole import real
from dqt.train.sensitivity import Sensitivity

SCALE = 1e4
"""The largest loss as the solver sees it: its absolute gap of 1e-6 is then nothing."""


@dataclass(frozen=True)
class Budget:
    """One row of the program: the sum over layers of ``unit * width ** power`` is at most ``limit``."""

    what: str
    units: tuple[int, ...]
    power: int
    limit: int

    def of(self, widths: Sequence[int]) -> int:
        """What a choice of widths costs."""
        return sum(unit * b**self.power for unit, b in zip(self.units, widths, strict=True))


def solve(
    measured: Sensitivity, space: Space, *, bitops: float | None = None, size: float | None = None, edges: bool = False
) -> Plan:
    """The plan of least summed increase under the budgets, exact. Arguments as :func:`dqt.train.search.search`.

    Raises:
        PlanError: no budget, one that no plan meets, or a sensitivity of another network.
    """
    return solve_within(measured, space, budgets(space, bitops=bitops, size=size, edges=edges), edges)


def budgets(space: Space, *, bitops: float | None, size: float | None, edges: bool) -> tuple[Budget, ...]:
    """The budgets of :func:`dqt.train.search.search` as exact integer limits.

    Raises:
        PlanError: none is given, it is not a positive number, or no plan meets it.
    """
    rows: list[Budget] = []
    if bitops is not None:
        limit = _limit("bitops", bitops, full_bitops(space))
        rows.append(Budget("BitOPs", tuple(layer.macs for layer in space.layers), 2, limit))
    if size is not None:
        limit = 8 * _limit("size", size, sum(layer.weights for layer in space.layers))
        rows.append(Budget("bits of weights", tuple(layer.weights for layer in space.layers), 1, limit))
    if not rows:
        raise PlanError("no budget: give bitops=0.25, a fraction of the master's (or a count), or size=")
    least = [_options(space, layer, edges)[0] for layer in space.layers]
    for row in rows:
        if row.of(least) > row.limit:
            full = full_bitops(space) if row.power == 2 else 8 * sum(row.units)
            raise PlanError(
                f"a budget of {row.limit:,} {row.what}: the least that a plan can take is {row.of(least):,} "
                f"({row.of(least) / full:.4f} of the master's); raise the budget"
                + ("" if edges else ", or search the first and last layer, too (edges)")
            )
    return tuple(rows)


def fits(plan: Plan, limits: tuple[Budget, ...]) -> bool:
    """Whether ``plan`` is within all limits; ``plan`` is in layer order, weights as wide as activations."""
    return _within([pair[0] for pair in plan.values()], limits)


def _within(widths: Sequence[int], limits: tuple[Budget, ...]) -> bool:
    return all(row.of(widths) <= row.limit for row in limits)


def _limit(name: str, value: float, full: int) -> int:
    if not math.isfinite(real(value, name)) or value <= 0:
        raise PlanError(f"{name} {value!r}: need a fraction in (0, 1] or a count above 1")
    if value > 1:
        return math.floor(value)
    nearest = round(value * full)  # a share that is a plan's own allows that plan
    return nearest if nearest / full <= value else nearest - 1


def _options(space: Space, layer: Layer, edges: bool) -> tuple[int, ...]:
    return (space.edge_width,) if layer.edge and not edges else space.widths


def solve_within(measured: Sensitivity, space: Space, limits: tuple[Budget, ...], edges: bool) -> Plan:
    """:func:`solve` under the limits of :func:`budgets`; ``edges`` as there."""
    if measured.layers != space.names or measured.widths != space.widths:
        raise PlanError("the sensitivity was measured on another network: its layers or widths differ")
    # One binary unknown for each option: layer i takes width b.
    options = [(i, b) for i, layer in enumerate(space.layers) for b in _options(space, layer, edges)]
    column = {b: k for k, b in enumerate(space.widths)}
    loss = np.array([measured.increase[i][column[b]] for i, b in options])
    cuts: list[npt.NDArray[np.float64]] = []
    while True:
        chosen = _milp(loss, options, limits, len(space.layers), cuts)
        widths = [options[k][1] for k in np.flatnonzero(chosen)]
        if _within(widths, limits):
            return Plan.of(dict(zip(space.names, widths, strict=True)))
        cuts.append(chosen)  # within the solver's tolerance, but not within the budget: exclude this one, go on


def _milp(
    loss: npt.NDArray[np.float64],
    options: Sequence[tuple[int, int]],
    limits: tuple[Budget, ...],
    layers: int,
    cuts: Sequence[npt.NDArray[np.float64]],
) -> npt.NDArray[np.float64]:
    """One width for each layer, least loss within the limits: 0 or 1 for each option."""
    owner = np.array([i for i, _ in options])
    one = (owner[None, :] == np.arange(layers)[:, None]).astype(np.float64)
    rows = [LinearConstraint(one, 1, 1)]
    for row in limits:
        weights = np.array([row.units[i] * b**row.power / max(row.limit, 1) for i, b in options])
        rows.append(LinearConstraint(weights[None, :], -np.inf, 1))
    rows += [LinearConstraint(cut[None, :], -np.inf, layers - 1) for cut in cuts]
    scale = SCALE / max(float(np.abs(loss).max()), 1e-30)
    found = milp(
        loss * scale, integrality=np.ones(len(loss)), bounds=Bounds(0, 1), constraints=rows, options={"mip_rel_gap": 0}
    )
    if found.x is None:
        raise PlanError(f"no plan meets the budgets together ({found.message}): raise one of them")
    result: npt.NDArray[np.float64] = np.rint(found.x)
    return result
