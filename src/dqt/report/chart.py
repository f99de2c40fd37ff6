"""A run's metric against one of its costs, as SVG whose colours are those of the page and whose points can be read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from itertools import pairwise
from typing import NamedTuple

from dqt.report.axes import AXES, Axis, Point, Scale, cost_scale, front, metric_scale, points, staircase
from dqt.report.results import Kind, Results, Row
from dqt.report.tables import score

NAMES: dict[Kind, str] = {
    "uniform": "uniform widths",
    "plan": "searched plan",
    "auto": "auto: the controller chooses",
    "cascade": "cascade",
    "random": "random choice",
}
MARKS: dict[Kind, str] = {
    "uniform": "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0 -10 0z",
    "plan": "M-4.6 -4.6h9.2v9.2h-9.2z",
    "auto": "M0 -9L2.2 -3L8.6 -2.8L3.5 1.1L5.3 7.3L0 3.7L-5.3 7.3L-3.5 1.1L-8.6 -2.8L-2.2 -3z",
    "cascade": "M0 -6.5L6.5 0L0 6.5L-6.5 0z",
    "random": "M-5 -2.8L-2.8 -5L0 -2.2L2.8 -5L5 -2.8L2.2 0L5 2.8L2.8 5L0 2.2L-2.8 5L-5 2.8L-2.2 0z",
}
"""Outlines about the origin."""
LETTER = 0.54
"""Mean width of a letter, in its own height."""


class Size(NamedTuple):
    """Of a chart: its box, its type, and how many ticks its axis of costs has room for."""

    name: str
    width: float
    height: float
    type: float
    ticks: int


class Box(NamedTuple):
    """A rectangle; ``y0 < y1``."""

    x0: float
    y0: float
    x1: float
    y1: float

    def overlaps(self, other: Box) -> bool:
        """Whether the two share a point."""
        return self.x0 < other.x1 and other.x0 < self.x1 and self.y0 < other.y1 and other.y0 < self.y1

    def holds(self, x: float, y: float) -> bool:
        """Whether a point lies inside."""
        return self.x0 <= x <= self.x1 and self.y0 <= y <= self.y1


WIDE, NARROW = Size("wide", 860, 440, 13, 9), Size("narrow", 360, 380, 12, 5)
"""On a page, and on a phone, where the text keeps its size."""
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 34, 48


class Plane(NamedTuple):
    """Where values lie in a chart."""

    size: Size
    x: Scale
    y: Scale

    @property
    def box(self) -> Box:
        """The area of the points."""
        return Box(LEFT, TOP, self.size.width - RIGHT, self.size.height - BOTTOM)

    def at(self, x: float, y: float) -> tuple[float, float]:
        """A cost and a metric in the chart's own units."""
        box = self.box
        return box.x0 + (box.x1 - box.x0) * self.x.place(x), box.y1 - (box.y1 - box.y0) * self.y.place(y)


def chart(axis: Axis, size: Size, *runs: Results) -> str:
    """One or two runs against ``axis`` as an ``<svg>``; the points of the second are hollow, its frontier dashed."""
    found = [points(results, axis) for results in runs]
    every = [point for each in found for point in each]
    metric = runs[0].judged_by
    plane = Plane(
        size, cost_scale([p.x for p in every], size.ticks), metric_scale([p.y for p in every], metric.unit)
    )  # fmt: skip
    fronts = [staircase(front(each, higher=metric.higher), plane.x.high) for each in found]
    parts = [_grid(plane, axis), _words(plane, axis, runs[0])]
    parts += [_line(plane, corners, number) for number, corners in enumerate(fronts)]
    for number, (results, each) in enumerate(zip(runs, found, strict=True)):
        parts += [_point(plane, results, point, number, len(runs) > 1) for point in each]
    parts += _labels(plane, _named(found), fronts)
    return (
        f"<svg class='chart {size.name}' viewBox='0 0 {size.width:g} {size.height:g}' role='group' "
        f"aria-label='{escape(_said(axis, runs[0]))}' font-size='{size.type:g}'>{''.join(parts)}</svg>"
    )


def _named(found: Sequence[Sequence[Point]]) -> list[Point]:
    """The points whose names are written: one of each name, that of the first run."""
    return list({point.row.label: point for each in reversed(found) for point in each}.values())


def _said(axis: Axis, results: Results) -> str:
    return f"{results.judged_by.name} against {axis.name}"


def _grid(plane: Plane, axis: Axis) -> str:
    box, parts = plane.box, []
    digits = max(len(f"{value:g}".partition(".")[2]) for value in plane.y.ticks) if plane.y.ticks else 0
    for value in plane.y.ticks:
        _, y = plane.at(plane.x.high, value)
        parts.append(f"<path class='grid' d='M{box.x0:g} {y:.1f}H{box.x1:g}'/>")
        parts.append(f"<text x='{box.x0 - 7:g}' y='{y + 4:.1f}' text-anchor='end'>{value:.{digits}f}</text>")
    for value in plane.x.ticks:
        x, _ = plane.at(value, plane.y.low)
        parts.append(f"<path class='grid' d='M{x:.1f} {box.y0:g}V{box.y1:g}'/>")
        parts.append(f"<text x='{x:.1f}' y='{box.y1 + 18:g}' text-anchor='middle'>{escape(axis.tick(value))}</text>")
    return "".join(parts)


def _words(plane: Plane, axis: Axis, results: Results) -> str:
    box, metric = plane.box, results.judged_by
    name = "top-1 accuracy" if results.metric is None else metric.name
    unit = f", {metric.unit}" if metric.unit else ""
    middle = (box.x0 + box.x1) / 2
    return (
        f"<text x='2' y='14'>{escape(name)} of the integer program{escape(unit)}</text>"
        f"<text x='{middle:g}' y='{box.y1 + 39:g}' text-anchor='middle'>{escape(axis.label(results))}</text>"
    )


def _line(plane: Plane, corners: Sequence[tuple[float, float]], number: int) -> str:
    path = "L".join("{:.1f} {:.1f}".format(*plane.at(*corner)) for corner in corners)
    return f"<path class='frontier run-{number}' d='M{path}'/>"


def _point(plane: Plane, results: Results, point: Point, number: int, named: bool) -> str:
    """A marker, its spread if it was timed, and what is said of it where it is touched."""
    x, y = plane.at(point.x, point.y)
    said = escape(told(results, point.row, named=named))
    return (
        f"<g class='point {point.row.kind} run-{number}' tabindex='0' role='img' aria-label='{said}' data-tip='{said}' "
        f"data-row='{number}-{results.rows.index(point.row)}' transform='translate({x:.1f} {y:.1f})'>"
        f"<title>{said}</title><circle class='touch' r='11'/><path d='{MARKS[point.row.kind]}'/></g>"
    )


def told(results: Results, row: Row, *, named: bool = False) -> str:
    """A row in lines: its name, its metric, and everything that it costs."""
    lines = [f"{results.name}: {row.label}" if named else row.label]
    lines.append(f"{results.judged_by.name}: {score(results, row.score)}")
    for axis in AXES:
        value = axis.cost(results, row)
        if value is not None:
            lines.append(f"{axis.name}: {axis.said(value)}")
    return "\n".join(lines)


def _labels(plane: Plane, found: Sequence[Point], fronts: Sequence[list[tuple[float, float]]]) -> Iterator[str]:
    """Each row's name beside its point, at the first place that is free; none is better than one on another."""
    spots = [plane.at(point.x, point.y) for point in found]
    line = [spot for corners in fronts for spot in _dense([plane.at(*corner) for corner in corners])]
    taken: list[Box] = []
    order = sorted(range(len(found)), key=lambda i: found[i].row.kind == "uniform")  # the many give way to the few
    for i in order:
        others = [spot for j, spot in enumerate(spots) if j != i]
        for box in _places(spots[i], LETTER * plane.size.type * len(found[i].row.label), plane.size.type):
            inside = plane.box.holds(box.x0, box.y0) and plane.box.holds(box.x1, box.y1)
            if inside and not any(map(box.overlaps, taken)) and not any(box.holds(*at) for at in (*others, *line)):
                taken.append(box)
                name = escape(found[i].row.label)
                at = f"x='{(box.x0 + box.x1) / 2:.1f}' y='{box.y1 - 3:.1f}' text-anchor='middle'"
                yield f"<text class='label {found[i].row.kind}' {at}>{name}</text>"
                break


def _places(spot: tuple[float, float], width: float, height: float) -> Iterator[Box]:
    """Above, below, right and left of a point."""
    x, y = spot
    for x0, y0 in (
        (x - width / 2, y - 9 - height),
        (x - width / 2, y + 9),
        (x + 11, y - height / 2),
        (x - 11 - width, y - height / 2),
    ):
        yield Box(x0, y0, x0 + width, y0 + height)


def _dense(corners: Sequence[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    """Points along the line through ``corners``, close enough that no label slips between two."""
    for (x0, y0), (x1, y1) in pairwise(corners):
        for i in range(101):
            yield x0 + (x1 - x0) * i / 100, y0 + (y1 - y0) * i / 100


def legend(*runs: Results) -> str:
    """What the marks mean, above the chart: inside it, it may lie on the frontier."""
    kinds = [kind for kind in NAMES if any(row.kind == kind for results in runs for row in results.rows)]
    items = [f"<span class='{kind}'>{_mark(MARKS[kind])} {NAMES[kind]}</span>" for kind in kinds]
    line = "<svg viewBox='0 0 24 12' class='swatch'><path class='frontier run-{}' d='M0 6H24'/></svg> {}"
    if len(runs) == 1:
        items.append(f"<span>{line.format(0, 'frontier')}</span>")
    else:
        ways = ("filled", "hollow")
        items += [
            f"<span>{line.format(i, f'{escape(results.name)}: {ways[i]}')}</span>" for i, results in enumerate(runs)
        ]
    return f"<div class='legend'>{''.join(items)}</div>"


def _mark(path: str) -> str:
    return f"<svg viewBox='-10 -10 20 20' class='swatch'><path d='{path}'/></svg>"
