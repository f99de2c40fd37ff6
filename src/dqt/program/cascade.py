"""Margins for a cascade, from data: which samples are sure enough at a low width, under a budget of BitOPs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from dqt.arith.cascade import Cascade
from dqt.arith.cost import cost
from dqt.arith.labels import class_labels
from dqt.arith.plan import PlanError, resolve
from dqt.arith.whole import real, wholes
from dqt.program.evaluate import Engine, interpreter
from dqt.program.interpret import InputError, check_cascade, margins
from dqt.program.program import ProgramLike, as_program
from dqt.program.signature import Signature

Ints: TypeAlias = npt.NDArray[np.int64]
GRID = 4096
"""Threshold combinations that the first search tries."""
FINE = 256
"""Thresholds that the second search tries per stage."""
ROUNDING = 1 + 1e-9
"""A budget that equals a cost is within it, however the mean of floats rounds."""


@dataclass(frozen=True, eq=False)
class Trials:
    """Every sample at every width of a cascade.

    Attributes:
        margin: int64 ``[stages - 1, N]``, how sure each sample is at each width but the last.
        good: float64 ``[stages, N]``, 1 where the answer at that width is right (or that of the last width).
        share: float64 ``[stages]``, what a sample costs that ends at this stage, every pass counted.
    """

    margin: Ints
    good: npt.NDArray[np.float64]
    share: npt.NDArray[np.float64]

    def score(self, thresholds: Sequence[int]) -> tuple[float, float]:
        """Mean answers that are good and mean share of the master's BitOPs, under these thresholds."""
        stage = np.full(self.margin.shape[1], len(thresholds))
        for i in reversed(range(len(thresholds))):
            stage[self.margin[i] > thresholds[i]] = i
        good = self.good[stage, np.arange(len(stage))].mean()
        return float(good), float(self.share[stage].mean())


def calibrate_cascade(
    program: ProgramLike,
    batches: Iterable[Any],
    widths: Sequence[int] = (2, 4, 8),
    bitops: float = 0.12,
    *,
    engine: Engine | None = None,
) -> Cascade:
    """The cascade over ``widths`` whose integer margins do best on ``batches`` under a budget.

    With labels, "best" is the most right answers; without, the most agreement with the last width. Every sample runs
    once at every width; thresholds are searched over quantiles of the margins, jointly, then one by one more finely.

    Args:
        program: the integer program, or the path of a ``.dqt`` file; its output is a vector of two classes or more.
        batches: inputs as :func:`dqt.interpret` takes them, or pairs ``(inputs, labels)`` with integer labels
            ``[N]`` or ``[N, 1]``.
        widths: two or more ascending widths of the program.
        bitops: the budget, mean BitOPs of a sample as a fraction of the master's, every pass counted.
        engine: what runs the program, such as ``dqt.Runtime(program).execute``; the interpreter, if left out.

    Raises:
        PlanError: a width that the program lacks, fewer than two, or a budget that the first width alone exceeds.
        InputError: no data, labels that do not fit, or labels for some batches only.
    """
    program = as_program(program)
    check_cascade(Signature.of(program))
    widths, bitops = wholes(widths, "a cascade's width"), real(bitops, "bitops")
    if len(widths) < 2:
        raise PlanError(f"a cascade over widths {widths}: need two or more")
    resolve(program.space, Cascade(widths, (0,) * (len(widths) - 1)))
    share = np.cumsum([cost(program, b).share for b in widths])
    if not bitops * ROUNDING >= share[0]:
        raise PlanError(
            f"a budget of {bitops:g} of the master's BitOPs: {widths[0]} bits alone cost {share[0]:.4g}; "
            "raise the budget or start at a lower width"
        )
    return Cascade(widths, best_thresholds(_try_all(engine or interpreter(program), batches, widths, share), bitops))


def _try_all(run: Engine, batches: Iterable[Any], widths: tuple[int, ...], share: npt.NDArray[np.float64]) -> Trials:
    answers: list[Ints] = []
    sure: list[Ints] = []
    labels: list[Ints | None] = []
    for x, label in _pairs(batches):
        codes = [run(x, b).codes for b in widths]
        sure.append(np.stack([margins(q) for q in codes]))
        answers.append(np.stack([q.argmax(axis=1) for q in codes]))
        labels.append(None if label is None else _labels(label, *codes[0].shape))
    if not answers:
        raise InputError("no data: calibrating a cascade needs at least one batch of samples")
    known = [label for label in labels if label is not None]
    if known and len(known) != len(labels):
        raise InputError(f"{len(known)} of {len(labels)} batches have labels: give labels for all batches or for none")
    given = np.concatenate(answers, axis=1)
    truth = np.concatenate(known) if known else given[-1]
    return Trials(np.concatenate(sure, axis=1)[:-1], (given == truth).astype(np.float64), share)


def _pairs(batches: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    if not isinstance(batches, Iterable):
        raise InputError(f"batches of type {type(batches).__name__}: pass a series of inputs, or of (inputs, labels)")
    for batch in batches:
        if isinstance(batch, tuple | list):
            if len(batch) != 2:
                raise InputError(f"a batch of {len(batch)} items: pass inputs, or a pair (inputs, labels)")
            yield batch[0], batch[1]
        else:
            yield batch, None


def _labels(label: Any, count: int, classes: int) -> Ints:
    values = label.detach().cpu() if hasattr(label, "detach") else label
    return class_labels(values, (count,), classes, error=InputError)


def best_thresholds(trials: Trials, budget: float) -> tuple[int, ...]:
    """Thresholds with the most good answers within the budget; among equals the cheapest, then the smallest."""
    stages = len(trials.margin)
    count = max(2, int(GRID ** (1 / stages)))
    grid = [_candidates(row, count) for row in trials.margin]
    best = min((_rank(trials, thresholds, budget), thresholds) for thresholds in product(*grid))
    fine = [_candidates(row, FINE) for row in trials.margin]
    improved = True
    while improved:
        before = best
        for i, values in enumerate(fine):
            options = [(*best[1][:i], value, *best[1][i + 1 :]) for value in values]
            best = min(best, *((_rank(trials, option, budget), option) for option in options))
        improved = best[0] < before[0]
    return best[1]


def _rank(trials: Trials, thresholds: Sequence[int], budget: float) -> tuple[bool, float, float]:
    """Smaller is better: within the budget first, then more good answers, then cheaper."""
    good, share = trials.score(thresholds)
    return share > budget * ROUNDING, -good, share


def _candidates(margin: Ints, count: int) -> list[int]:
    """-1, which sends nobody on, and ``count`` quantiles up to the largest margin, which sends everybody."""
    quantiles = np.quantile(margin, np.linspace(0, 1, count), method="lower")
    return [-1, *(int(value) for value in np.unique(quantiles))]
