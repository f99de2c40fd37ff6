"""What a run's metric is drawn against: BitOPs, measured time, bytes of weights; for pages and for pictures."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from dqt.program.task import PERCENT
from dqt.report.results import Results, Row
from dqt.report.tables import percent, quantity, weight_bytes

LOGARITHMIC = 4.0
"""Costs whose largest is so many times the smallest are drawn on a logarithmic scale."""


class Point(NamedTuple):
    """A row in a chart: its cost ``x``, and ``y``, its metric, fractions in percent."""

    row: Row
    x: float
    y: float


@dataclass(frozen=True)
class Axis:
    """A cost of a row.

    Attributes:
        key: in names of files and of parts of a page.   name: for people.
        cost: of a row; None where it is not known.
        said: a cost in words, as in the tables.   tick: a cost as short as an axis needs it.
    """

    key: str
    name: str
    cost: Callable[[Results, Row], float | None]
    said: Callable[[float], str]
    tick: Callable[[float], str]

    def label(self, results: Results) -> str:
        """What stands below the axis."""
        if self is BITOPS:
            return f"BitOPs, relative to every layer at {results.master} bits"
        if self is TIME:
            return f"milliseconds for a sample{f' ({results.timing})' if results.timing else ''}"
        return "bytes of weights that a sample reads"


def milliseconds(value: float) -> str:
    """Three significant digits: ``0.138 ms``."""
    return f"{value:.3g} ms"


BITOPS = Axis("bitops", "BitOPs", lambda _, row: 100 * row.share, lambda v: percent(v / 100, 1), lambda v: f"{v:g} %")
TIME = Axis("time", "measured time", lambda _, row: row.time.ms if row.time else None, milliseconds, lambda v: f"{v:g}")
BYTES = Axis("bytes", "bytes", weight_bytes, lambda v: quantity(v, "B"), lambda v: _short(quantity(v, "B")))
AXES = (BITOPS, TIME, BYTES)


def axes_of(*runs: Results) -> tuple[Axis, ...]:
    """The axes on which at least one row of every run stands."""
    return tuple(axis for axis in AXES if all(points(results, axis) for results in runs))


def points(results: Results, axis: Axis) -> list[Point]:
    """The rows whose cost is known, in the order of the results."""
    costs = ((row, axis.cost(results, row)) for row in results.rows)
    return [Point(row, x, height(results, row)) for row, x in costs if x is not None and x > 0]


def height(results: Results, row: Row) -> float:
    """Where a row stands: its metric, fractions in percent."""
    return 100 * row.score if results.judged_by.unit == PERCENT else row.score


def front(found: Sequence[Point], *, higher: bool) -> list[Point]:
    """The points that no other beats: by rising cost, each better than every cheaper one (Pareto)."""
    sign = 1 if higher else -1
    best: list[Point] = []
    for point in sorted(found, key=lambda point: (point.x, -sign * point.y)):
        if not best or sign * point.y > sign * best[-1].y:
            best.append(point)
    return best


def staircase(best: Sequence[Point], end: float) -> list[tuple[float, float]]:
    """The frontier's corners: each metric holds until a dearer row improves on it, the last one until ``end``."""
    corners = [(best[0].x, best[0].y)]
    for before, point in pairwise(best):
        corners += [(point.x, before.y), (point.x, point.y)]
    return [*corners, (end, best[-1].y)]


def _short(text: str) -> str:
    """``20.0 kB`` as ``20 kB``."""
    number, _, unit = text.partition(" ")
    return f"{number.rstrip('0').rstrip('.') if '.' in number else number} {unit}"


class Scale(NamedTuple):
    """A range of values, and the ticks within it."""

    low: float
    high: float
    ticks: tuple[float, ...]
    logarithmic: bool = False

    def place(self, value: float) -> float:
        """0 at ``low``, 1 at ``high``."""
        if self.logarithmic:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


def cost_scale(values: Sequence[float], most: int) -> Scale:
    """The scale of costs, which are positive, with at most about ``most`` ticks."""
    low, high = min(values), max(values)
    if high < LOGARITHMIC * low:
        room = 0.08 * (high - low) or 0.2 * high
        return _linear(max(0.0, low - room), high + room, most)
    low, high = low / 1.35, high * 1.35
    for steps in ((1, 1.5, 2, 3, 4, 5, 7), (1, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
        ticks = tuple(value for value in _decades(low, steps) if low <= value <= high)
        if len(ticks) <= most:
            return Scale(low, high, ticks, logarithmic=True)
    return Scale(low, high, ticks[:: -(-len(ticks) // most)], logarithmic=True)


def _decades(low: float, steps: Sequence[float]) -> Iterator[float]:
    first = math.floor(math.log10(low))
    for decade in range(first, first + 40):  # beyond every cost
        yield from (float(f"{step * 10.0**decade:.6g}") for step in steps)


def metric_scale(values: Sequence[float], unit: str, most: int = 6) -> Scale:
    """The scale of the metric, with room above and below."""
    low, high = min(values), max(values)
    room = max(0.12 * (high - low), 0.5 if unit == PERCENT else 0.02 * max(abs(low), abs(high), 1e-9))
    return _linear(low - room, high + room, most)


def _linear(low: float, high: float, most: int) -> Scale:
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    first = math.ceil(low / step)
    ticks = (float(f"{step * i:.10g}") for i in range(first, first + most + 2))
    return Scale(low, high, tuple(value for value in ticks if value <= high))
