"""Two runs beside each other: what the runs of one name reach, and what they cost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from dqt.program.task import PERCENT
from dqt.report.axes import AXES, Axis
from dqt.report.html import Cell
from dqt.report.results import Results, ResultsError, Row
from dqt.report.tables import NONE, score


class Pair(NamedTuple):
    """The rows of one label; None where a run has none."""

    label: str
    first: Row | None
    second: Row | None


def comparable(first: Results, second: Results) -> None:
    """Check that two runs are judged by one metric.

    Raises:
        ResultsError: they are not.
    """
    one, other = first.judged_by, second.judged_by
    if (one.name, one.unit, one.higher) != (other.name, other.unit, other.higher):
        raise ResultsError(
            f"{first.name} is judged by {one.name}, {second.name} by {other.name}: compare runs of one metric"
        )


def pairs(first: Results, second: Results) -> list[Pair]:
    """The rows of both by label: in the order of the first, then what only the second has."""
    mine, theirs = ({row.label: row for row in results.rows} for results in (first, second))
    return [Pair(label, mine.get(label), theirs.get(label)) for label in dict.fromkeys((*mine, *theirs))]


def head(first: Results, second: Results) -> tuple[str, ...]:
    """The heads of the comparison; costs are those of the second relative to the first."""
    name = "accuracy" if first.metric is None else first.metric.name
    costs = (f"{axis.name}, relative" for axis in _known(first, second))
    return ("run", f"{name}, {first.name}", f"{name}, {second.name}", "difference", *costs)


def cells(first: Results, second: Results, pair: Pair) -> tuple[Cell, ...]:
    """One line of the comparison, behind its label."""
    one, other = pair.first, pair.second
    scores = [Cell(score(first, row.score), row.score) if row else Cell(NONE) for row in (one, other)]
    return (*scores, _difference(first, one, other), *_costs(first, second, one, other))


def _known(first: Results, second: Results) -> list[Axis]:
    both = [pair for pair in pairs(first, second) if pair.first and pair.second]
    return [axis for axis in AXES if any(_ratio(axis, first, second, p.first, p.second) is not None for p in both)]


def _difference(results: Results, one: Row | None, other: Row | None) -> Cell:
    if one is None or other is None:
        return Cell(NONE)
    gap = other.score - one.score
    better = gap > 0 if results.judged_by.higher else gap < 0
    mark = "" if gap == 0 else "better" if better else "worse"
    if results.judged_by.unit == PERCENT:
        return Cell(f"{100 * gap:+.2f} points" if gap else "0.00 points", gap, mark)
    return Cell(f"{gap:+.4g}", gap, mark)


def _costs(first: Results, second: Results, one: Row | None, other: Row | None) -> Iterator[Cell]:
    for axis in _known(first, second):
        ratio = _ratio(axis, first, second, one, other)
        yield Cell(NONE) if ratio is None else Cell(f"{ratio:.2f}x", ratio)


def _ratio(axis: Axis, first: Results, second: Results, one: Row | None, other: Row | None) -> float | None:
    """The cost of the second over that of the first; BitOPs themselves, not what they are relative to."""
    if one is None or other is None:
        return None
    if axis.key == "bitops":
        return other.bitops / one.bitops if one.bitops else None
    below, above = axis.cost(first, one), axis.cost(second, other)
    return above / below if above is not None and below else None


def headline(first: Results, second: Results) -> str:
    """How many of the runs that both have are better in the second, in words."""
    both = [(p.first, p.second) for p in pairs(first, second) if p.first and p.second]
    if not both:
        return f"{first.name} and {second.name} have no run of one name."
    sign = 1 if first.judged_by.higher else -1
    gains = [sign * (other.score - one.score) for one, other in both]
    better, worse = sum(gain > 0 for gain in gains), sum(gain < 0 for gain in gains)
    name = first.judged_by.name
    return (
        f"Of {len(both)} runs that both have, {second.name} is better than {first.name} in {name} in {better}, and "
        f"worse in {worse}."
    )


def lines(first: Results, second: Results) -> Iterable[tuple[str, ...]]:
    """The comparison as text."""
    for pair in pairs(first, second):
        yield (pair.label, *(cell.text for cell in cells(first, second, pair)))
