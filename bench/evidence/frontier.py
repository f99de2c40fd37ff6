"""Cascades and searched width plans of one program over budgets, chosen on held-out images."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import torch

import dqt
from bench.evidence.judging import Judging
from dqt.arith.cost import cost
from dqt.program.cascade import Trials, best_thresholds
from dqt.program.interpret import margins

BITS = (2.5, 3.0, 3.5, 4.0, 6.0)
PARTS = (0.27, 0.40)
NEAR_3_BITS = tuple(round(0.12 + 0.0025 * i, 4) for i in range(21))
FINE = (0.085, 0.095, *NEAR_3_BITS, 0.20, 0.22, 0.235, 0.25, 0.30, 0.36, 0.45)
"""Budgets of cascades alone: what one costs on other images is known only nearly, so they stand close together."""
TRIPLES = (2, 3, 4, 6, 8)
SEARCHED, BATCH = 512, 128


def frontier(judging: Judging, budgets: Sequence[float] = ()) -> None:
    """Every budget: a searched plan and a cascade; ``budgets`` in the place of the usual ones, which are many."""
    fixed = budgets or [*(share_of(judging, bits) for bits in BITS), *PARTS]
    for budget in sorted(budgets or [*fixed, *FINE]):
        cascade(judging, budget)
    for budget in sorted(fixed):
        searched(judging, budget)


def share_of(judging: Judging, bits: float) -> float:
    """The share of BitOPs of a uniform width, a fraction of a bit included, the edges at their own."""
    space = judging.program.space
    edges = sum(layer.macs for layer in space.layers if layer.edge) / sum(layer.macs for layer in space.layers)
    return edges * (space.edge_width / space.master) ** 2 + (1 - edges) * (bits / space.master) ** 2


def searched(judging: Judging, budget: float) -> None:
    """The plan of ``dqt.search`` for a budget.

    Measured by divergence, without labels: the float weights have seen the held-out images, and by cross entropy a plan
    gains there that is merely less sure of them, and worse on new ones.
    """
    label = f"plan {budget:.4f}"
    if judging.record.find(label) is not None:
        return
    x, _ = judging.held_out()
    images = torch.split(torch.from_numpy(x[:SEARCHED]), BATCH)
    plan = dqt.search(judging.net, list(images), bitops=budget)
    judging.point(label, "plan", plan, budget=budget, by_layer={name: tuple(pair) for name, pair in plan.items()})


def cascade(judging: Judging, budget: float) -> None:
    """The cascade for a budget: its widths and margins are those that do best on the held-out images."""
    label = f"cascade {budget:.4f}"
    if judging.record.find(label) is not None:
        return
    chosen = choose(judging, budget)
    if chosen is None:
        return
    best, good = chosen
    held_out = round(good, 6)
    judging.point(label, "cascade", best, budget=budget, widths=best.widths, margins=best.margins, held_out=held_out)


def choose(judging: Judging, budget: float) -> tuple[dqt.Cascade, float] | None:
    """The best pair or triple of widths and its accuracy on the held-out images; None: the budget is below them all.

    For each it is what ``dqt.calibrate_cascade`` finds; here every width runs once and not once for each of them.
    """
    options = []
    for widths in candidates(judging.program.space.widths):
        trials = trials_of(judging, widths)
        if trials.share[0] <= budget:
            thresholds = best_thresholds(trials, budget)
            good, share = trials.score(thresholds)
            options.append((-good, share, widths, thresholds))
    if not options:
        return None
    good, _, widths, thresholds = min(options)
    return dqt.Cascade(widths, thresholds), -good


def candidates(widths: Sequence[int]) -> list[tuple[int, ...]]:
    """Every pair of widths, and the triples of some."""
    return [*combinations(widths, 2), *combinations([b for b in widths if b in TRIPLES], 3)]


def trials_of(judging: Judging, widths: tuple[int, ...]) -> Trials:
    """The held-out images at every width of a cascade."""
    labels = judging.held_out()[1]
    codes = [judging.held_out_codes(b) for b in widths]
    good = np.stack([(q.argmax(axis=1) == labels).astype(np.float64) for q in codes])
    share = np.cumsum([cost(judging.program, b).share for b in widths])
    return Trials(np.stack([margins(q) for q in codes[:-1]]), good, share)
