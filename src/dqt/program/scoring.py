"""Metrics of the tasks that come with dqt, on NumPy arrays: what each sample contributes, and the number of all.

Outputs are float64 ``scale * (q - zero)``: the order of the integers, and their ties, are kept exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from dqt.arith.margin import chosen_output
from dqt.program.values import Value

Rows: TypeAlias = npt.NDArray[np.float64]
"""``[N]`` or ``[N, k]``: what each sample contributes to a metric."""
Metric: TypeAlias = Callable[[Any, Any], Any]
Total: TypeAlias = Callable[[Rows], float]


def reals(codes: npt.NDArray[np.int32], value: Value) -> npt.NDArray[np.float64]:
    """``scale * (q - zero)`` in float64, which keeps the order of the integers and their ties."""
    return (codes - np.float64(value.zero)) * np.float64(np.float32(value.scale))


def mean(rows: Rows) -> float:
    """The mean over all samples, and over what each of them contributes."""
    return float(rows.mean())


def root_of_mean(rows: Rows) -> float:
    """The square root of the mean."""
    return float(np.sqrt(rows.mean()))


def part(rows: Rows) -> float:
    """Of rows ``[N, 2]``: the sum of the first over the sum of the second; 0 where nothing counts."""
    right, counted = rows.sum(axis=0)
    return float(right / counted) if counted else 0.0


def exponential(rows: Rows) -> float:
    """``exp(part(rows))``, infinite beyond float64."""
    with np.errstate(over="ignore"):
        return float(np.exp(part(rows)))


def mean_overlap(rows: Rows) -> float:
    """Of rows ``[N, 2 * classes]``, intersections and unions: the mean quotient of the classes that occur."""
    intersection, union = rows.sum(axis=0).reshape(2, -1)
    there = union > 0
    return float((intersection[there] / union[there]).mean()) if there.any() else 0.0


def largest(axis: int, output: str) -> Callable[[Any], npt.NDArray[np.int64]]:
    """From outputs to the class with the largest score, the first on a tie, int64 without the axis of the classes."""
    return lambda outputs: np.asarray(chosen_output(outputs, output)).argmax(axis=axis).astype(np.int64)


def right_classes(output: str) -> Metric:
    """1 where the largest score is the label's, ``[N]``."""
    answer = largest(1, output)
    return lambda outputs, labels: (answer(outputs) == labels).astype(np.float64)


def right_positions(axis: int, ignore: int, output: str) -> Metric:
    """Positions whose largest score is the label's, and positions that count, ``[N, 2]``."""
    answer = largest(axis, output)

    def rows(outputs: Any, labels: Any) -> Rows:
        counted = labels != ignore
        right = (answer(outputs) == labels) & counted
        return np.stack([_summed(right), _summed(counted)], axis=1)

    return rows


def overlap(axis: int, ignore: int, output: str) -> Metric:
    """By class, positions of intersection and of union between answer and label, ``[N, 2 * classes]``."""

    def rows(outputs: Any, labels: Any) -> Rows:
        scores = np.asarray(chosen_output(outputs, output))
        answers, counted = scores.argmax(axis=axis), labels != ignore
        both: list[Rows] = []
        union: list[Rows] = []
        for label in range(scores.shape[axis]):
            found, true = (answers == label) & counted, (labels == label) & counted
            both.append(_summed(found & true))
            union.append(_summed(found | true))
        return np.stack(both + union, axis=1)

    return rows


def squared_error(output: str) -> Metric:
    """The mean squared difference of each sample, ``[N]``."""

    def rows(outputs: Any, targets: Any) -> Rows:
        given = np.asarray(chosen_output(outputs, output), dtype=np.float64)
        return ((given - targets) ** 2).reshape(len(given), -1).mean(axis=1)

    return rows


def surprise(axis: int, ignore: int, output: str) -> Metric:
    """The sum of ``-log softmax(scores)[label]``, and the positions that count, ``[N, 2]``."""

    def rows(outputs: Any, labels: Any) -> Rows:
        scores = np.moveaxis(np.asarray(chosen_output(outputs, output), dtype=np.float64), axis, -1)
        counted = labels != ignore
        scores = scores - scores.max(axis=-1, keepdims=True)
        taken = np.take_along_axis(scores, np.where(counted, labels, 0)[..., None], axis=-1)[..., 0]
        lost = (np.log(np.exp(scores).sum(axis=-1)) - taken) * counted
        return np.stack([_summed(lost), _summed(counted)], axis=1)

    return rows


def _summed(values: npt.NDArray[Any]) -> Rows:
    """Over everything but the samples, ``[N]``."""
    return values.reshape(len(values), -1).sum(axis=1, dtype=np.float64)
