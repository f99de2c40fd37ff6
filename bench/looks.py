"""A learned look after every run: an image runs at 2 bits, then at more, and after each run stops or goes on.

A cascade stops by thresholds on the last run's margin. Here a stop is learned, from the last run backwards: at each
stage a smooth function of what is known says how much going on gains, less a price on BitOPs. It may know the margin;
whether the last run agrees with the one before, and that one's margin; or the margins that follow the first. And the
answer may be the last run's, or the sum of all runs' outputs. Halves of the test images and budget as in
:mod:`bench.again`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.preprocessing import StandardScaler

import dqt
from bench.again import OVER_CASCADE, WIDTHS, Answers, cascade, halves, uniform_at
from bench.common import Check, parser, write
from bench.late import SEEDS

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]
CHAINS = ((2, 4), (2, 4, 6), (2, 4, 8), (2, 3, 4, 6))
RATES, DECAY, DEAREST, STEPS = (1.0, 3.0), 10.0, 20.0, 18
KNOWN = {"margin": (False, 1), "agreement": (True, 1), "margins": (False, 4)}
"""What a stop may know -> whether it compares with the run before, and how many margins it reads."""


class Chain:
    """Runs at ascending widths of some images: what is known after each, and who is right."""

    def __init__(self, answers: Answers, widths: tuple[int, ...], rows: Rows, known: str, *, summed: bool) -> None:
        at = [WIDTHS.index(b) for b in widths]
        outputs = answers.outputs[at][:, rows] * answers.scale
        self.costs = np.array([answers.share[i] for i in at])
        given = np.cumsum(outputs, 0) if summed else outputs
        self.right = (given.argmax(2) == answers.labels[rows]).astype(np.float64)
        self.known = [_features(outputs[: k + 1], *KNOWN[known]) for k in range(len(widths))]

    def stops(self, price: float) -> list[Callable[[Floats], Floats]]:
        """For each stage but the last a function of what is known: what going on gains."""
        value, made = self.right[-1], []
        for k in reversed(range(len(self.costs) - 1)):
            gain = value - self.right[k] - price * self.costs[k + 1]
            made.append(smooth(self.known[k], gain))
            on = made[-1](self.known[k]) > 0
            value = np.where(on, value - price * self.costs[k + 1], self.right[k])
        return made[::-1]

    def score(self, stops: list[Callable[[Floats], Floats]]) -> tuple[float, float, float]:
        """Top-1, relative BitOPs and runs of an image."""
        last = np.zeros(self.right.shape[1], dtype=np.int64)
        for k, stop in enumerate(stops):
            last += (last == k) & (stop(self.known[k]) > 0)
        right = self.right[last, np.arange(len(last))]
        return float(right.mean()), float(np.cumsum(self.costs)[last].mean()), float(1 + last.mean())

    def held_to(self, budget: float) -> list[Callable[[Floats], Floats]]:
        """The stops at the price at which these images cost the budget."""
        low, high = 0.0, DEAREST
        for _ in range(STEPS):
            price = (low + high) / 2
            low, high = (price, high) if self.score(self.stops(price))[1] > budget else (low, price)
        return self.stops(high)


def _features(outputs: Floats, before: bool, count: int) -> Floats:
    top = -np.sort(-outputs[-1], 1)
    margins = top[:, :1] - top[:, 1 : 1 + count]
    found = [margins, np.sqrt(margins)]
    if before and len(outputs) > 1:
        earlier = np.sort(outputs[-2], 1)
        agree = 2.0 * (outputs[-1].argmax(1) == outputs[-2].argmax(1))[:, None] - 1
        found += [agree, agree * margins, agree * (earlier[:, -1:] - earlier[:, -2:-1])]
    return np.concatenate(found, 1)


def smooth(features: Floats, gain: Floats) -> Callable[[Floats], Floats]:
    """A function from features to expected gains: least squares on these and on exponentials that fall with them."""

    def widened(x: Floats) -> Floats:
        return np.concatenate([x, *(np.exp(-rate * x) for rate in RATES)], 1)

    scaler = StandardScaler().fit(widened(features))
    x = np.pad(scaler.transform(widened(features)), ((0, 0), (0, 1)), constant_values=1.0)
    weights = np.linalg.solve(x.T @ x + DECAY * np.eye(x.shape[1]), x.T @ gain)
    return lambda x: scaler.transform(widened(x)) @ weights[:-1] + weights[-1]


def judged(answers: Answers, widths: tuple[int, ...], known: str, *, summed: bool) -> dict[str, list[float]]:
    """A list over the seeds for each figure; both halves learn and judge."""
    found: dict[str, list[float]] = {"own": [], "share": [], "runs": [], "uniform": []}
    for seed in SEEDS:
        parts = []
        for one, other in halves(len(answers.labels), seed):
            stops = Chain(answers, widths, one, known, summed=summed).held_to(answers.budget)
            parts.append(Chain(answers, widths, other, known, summed=summed).score(stops))
        own, share, runs = np.mean(parts, 0).tolist()
        figures = {"own": 100 * own, "share": share, "runs": runs, "uniform": uniform_at(answers, share)}
        for key, value in figures.items():
            found[key].append(round(value, 4))
    return found


def main() -> None:
    """Measure, print, write."""
    arguments = parser(__doc__, data=True)
    arguments.add_argument("--answers", type=Path, help="folder that keeps the network's answers by width")
    given = arguments.parse_args()
    answers = Answers(dqt.Program.load(dqt.example()), given.data, given.answers)
    rows: list[dict[str, Any]] = []
    for widths in CHAINS:
        for known in KNOWN:
            for summed in (False, True):
                figures = judged(answers, widths, known, summed=summed)
                rows.append({"widths": widths, "known": known, "summed": summed, **figures})
    over = [[cascade(answers, widths, seed) for seed in SEEDS] for widths in CHAINS]
    thresholds = [{key: [round(each[key], 4) for each in found] for key in found[0]} for found in over]
    best = max(mean(each["own"]) for each in thresholds)
    top = max(rows, key=lambda row: mean(row["own"]))
    checks = [
        Check(
            "the best learned look: points over the best cascade", round(mean(top["own"]) - best, 3), ">=", OVER_CASCADE
        )
    ]
    results = {"rows": rows, "cascades": dict(zip(map(str, CHAINS), thresholds, strict=True))}
    write("looks", settings={"seeds": SEEDS, "images": len(answers.labels)}, results=results, checks=checks)


if __name__ == "__main__":
    main()
