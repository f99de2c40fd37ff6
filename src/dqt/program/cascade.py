"""Margins for a cascade, from data: which samples are sure enough at a low width, under a budget of BitOPs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from dqt.arith.cascade import Cascade
from dqt.arith.cost import cost
from dqt.arith.errors import InputError
from dqt.arith.margin import margins_of
from dqt.arith.plan import PlanError, resolve
from dqt.arith.whole import real, wholes
from dqt.program.evaluate import Engine, interpreter, output_value, task_of_program
from dqt.program.passes import check_cascade
from dqt.program.program import ProgramLike, as_program
from dqt.program.scoring import mean, reals
from dqt.program.signature import Signature
from dqt.program.task import GivenTask, Task
from dqt.program.values import Value

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
        good: float64 ``[stages, N]`` or ``[stages, N, k]``, what each sample contributes to the metric at each width:
            for classification 1 where the answer is right (or that of the last width).
        share: float64 ``[stages]``, what a sample costs that ends at this stage, every pass counted.
        gain: the metric of such contributions, larger is better.
    """

    margin: Ints
    good: npt.NDArray[np.float64]
    share: npt.NDArray[np.float64]
    gain: Callable[[npt.NDArray[np.float64]], float] = mean

    def score(self, thresholds: Sequence[int]) -> tuple[float, float]:
        """The metric, larger is better, and the mean share of the master's BitOPs, under these thresholds."""
        stage = np.full(self.margin.shape[1], len(thresholds))
        for i in reversed(range(len(thresholds))):
            stage[self.margin[i] > thresholds[i]] = i
        good = self.gain(self.good[stage, np.arange(len(stage))])
        return good, float(self.share[stage].mean())


def calibrate_cascade(
    program: ProgramLike,
    batches: Iterable[Any],
    widths: Sequence[int] = (2, 4, 8),
    bitops: float = 0.12,
    *,
    engine: Engine | None = None,
    task: GivenTask | None = None,
) -> Cascade:
    """The cascade over ``widths`` whose integer margins do best on ``batches`` under a budget.

    With targets, "best" is the task's metric (the most right answers); without, the most agreement with the last width.
    Every sample runs once at every width; thresholds are searched over quantiles of the margins, jointly, then one by
    one more finely.

    Args:
        program: the integer program, or the path of a ``.dqt`` file.
        batches: inputs as :func:`dqt.interpret` takes them, or pairs ``(inputs, targets)``, for classification integer
            labels ``[N]`` or ``[N, 1]``.
        widths: two or more ascending widths of the program.
        bitops: the budget, mean BitOPs of a sample as a fraction of the master's, every pass counted.
        engine: what runs the program, such as ``dqt.Runtime(program).execute``; the interpreter, if left out.
        task: what the outputs are for; by default what the program says, or else classification.

    Raises:
        PlanError: a width that the program lacks, fewer than two, or a budget that the first width alone exceeds; or
            the task does not say how sure an answer is (regression does not).
        InputError: no data, targets that do not fit, or targets for some batches only.
    """
    program = as_program(program)
    check_cascade(Signature.of(program))
    task = task_of_program(program, task)
    margin = task.sure
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
    run = engine or interpreter(program)
    trials = [_tried(run, x, given, widths, task, output_value(program)) for x, given in _pairs(batches)]
    return Cascade(widths, best_thresholds(_joined(trials, task, share), bitops), margin)


@dataclass(frozen=True, eq=False)
class _Batch:
    """One batch at every width: margins ``[stages - 1, N]``, contributions ``[stages, N, ...]``, and who judged."""

    margin: Ints
    good: npt.NDArray[np.float64]
    judged: bool


def _tried(run: Engine, x: Any, given: Any, widths: tuple[int, ...], task: Task, value: Value) -> _Batch:
    codes = [run(x, b).codes for b in widths]
    count = len(codes[0])
    sure = [margins_of(task.sure, q - np.int64(value.zero), count) for q in codes[:-1]]
    outputs = [reals(q, value) for q in codes]
    if given is not None:
        targets = task.checked(plain(given), value.shape, count, error=InputError)
    elif task.answer is not None:
        targets = task.answer(outputs[-1])
    else:
        raise InputError(f"a cascade for {task.name} needs targets: pass pairs (inputs, targets)")
    return _Batch(np.stack(sure), np.stack([task.rows(y, targets) for y in outputs]), given is not None)


def _joined(batches: Sequence[_Batch], task: Task, share: npt.NDArray[np.float64]) -> Trials:
    if not batches:
        raise InputError("no data: calibrating a cascade needs at least one batch of samples")
    known = sum(batch.judged for batch in batches)
    if known not in (0, len(batches)):
        raise InputError(f"{known} of {len(batches)} batches have labels: give labels for all batches or for none")
    margin = np.concatenate([batch.margin for batch in batches], axis=1)
    good = np.concatenate([batch.good for batch in batches], axis=1)
    return Trials(margin, good, share, lambda rows: task.gain(task.value(rows)))


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


def plain(targets: Any) -> Any:
    """Targets as NumPy has them: tensors of torch, on any device, become arrays, inside of dicts and tuples, too."""
    if isinstance(targets, Mapping):
        return {name: plain(each) for name, each in targets.items()}
    if isinstance(targets, tuple):
        return tuple(plain(each) for each in targets)
    return targets.detach().cpu().numpy() if hasattr(targets, "detach") else targets


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
    """Smaller is better: within the budget first, then a better metric, then cheaper."""
    good, share = trials.score(thresholds)
    return share > budget * ROUNDING, -good, share


def _candidates(margin: Ints, count: int) -> list[int]:
    """One that sends nobody on, and ``count`` quantiles up to the largest margin, which sends everybody.

    Nobody has a margin below 0, unless a margin of the user's own gives such.
    """
    quantiles = np.quantile(margin, np.linspace(0, 1, count), method="lower")
    return [min(-1, int(margin.min()) - 1), *(int(value) for value in np.unique(quantiles))]
