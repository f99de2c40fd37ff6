"""The metric against BitOPs, drawn once: as SVG whose colours follow the page's theme, or as a picture file."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dqt.arith.files import write_file
from dqt.program.task import PERCENT
from dqt.report.results import Kind, Results, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMES: dict[Kind, str] = {
    "uniform": "uniform widths",
    "plan": "searched plan",
    "auto": "auto: the controller chooses",
    "cascade": "cascade",
    "random": "random choice",
}
MARKS: dict[Kind, str] = {"uniform": "o", "plan": "s", "auto": "*", "cascade": "D", "random": "X"}
SIZES: dict[Kind, int] = {"uniform": 52, "plan": 52, "auto": 170, "cascade": 46, "random": 60}
COLOURS = {
    "ink": "#1b1f24",
    "faint": "#d5d9df",
    "paper": "#fefefd",
    "uniform": "#4c5a6b",
    "plan": "#0e8a6d",
    "auto": "#d1560c",
    "cascade": "#7a53c4",
    "random": "#8f959e",
    "frontier": "#9fb4d8",
}
"""Role -> colour in a picture. In the page's SVG each becomes the CSS variable ``--role``; all differ."""
PLACES = ((0, 9, "center", "bottom"), (0, -9, "center", "top"), (10, 0, "left", "center"), (-10, 0, "right", "center"))
"""Where a label may stand about its point, in points of type: above, below, right, left."""
RC: Any = {
    "svg.fonttype": "none",  # text stays text: it takes the page's font
    "svg.hashsalt": "dqt",  # the same results give the same page
    "text.parse_math": False,  # a label is never a formula
    "font.size": 10.5,
}


WIDE, NARROW = (8.2, 4.6), (4.3, 4.4)
"""Inches of the chart, on a page and on a phone, where the text keeps its size."""
TICKS: dict[tuple[float, float], list[float]] = {
    WIDE: [1, 2, 3, 5, 7, 10, 15, 25, 40, 60, 100, 200],
    NARROW: [1, 3, 10, 30, 100, 200],
}


def accuracy_svg(results: Results, size: tuple[float, float] = WIDE) -> str:
    """The chart as an ``<svg>`` element that takes its colours from the page's CSS variables.

    Raises:
        ImportError: matplotlib is not installed.
    """
    text = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with _style(salt=f"dqt {size}"):  # names of parts differ between the charts of a page
        _figure(results, size).savefig(text, format="svg", metadata=nothing, transparent=True)
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    for role, colour in COLOURS.items():
        svg = svg.replace(colour, f"var(--{role})")
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    kind = "chart" if size == WIDE else "chart narrow"
    return svg.replace("<svg", f'<svg class="{kind}" role="img" aria-labelledby="chart-caption"', 1)


def save_picture(results: Results, path: str | os.PathLike[str]) -> None:
    """The chart as a picture on a light ground; the suffix (``.png``, ``.svg``, ``.pdf``) says which format.

    Raises:
        ImportError: matplotlib is not installed.
        OSError: it cannot be written, see :func:`dqt.arith.files.write_file`.
    """
    picture = io.BytesIO()
    kind = Path(path).suffix[1:] or "png"
    with _style():
        _figure(results).savefig(picture, format=kind, dpi=160, facecolor=COLOURS["paper"])
    write_file(path, picture.getbuffer())


def _style(salt: str = "dqt") -> Any:
    try:
        from matplotlib import rc_context
    except ModuleNotFoundError as error:
        raise ImportError('the chart needs matplotlib, which is not installed: pip install "dqt[report]"') from error
    return rc_context(RC | {"svg.hashsalt": salt})


def _figure(results: Results, size: tuple[float, float] = WIDE) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    _axes(axes, results, TICKS[size])
    _frontier(axes, results)
    for kind, name in NAMES.items():
        rows = sorted((row for row in results.rows if row.kind == kind), key=lambda row: row.bitops)
        if rows:
            x, y = [100 * row.share for row in rows], [_height(results, row) for row in rows]
            said = name if size == WIDE else name.partition(":")[0]
            style: dict[str, Any] = {"color": COLOURS[kind], "edgecolors": COLOURS["paper"], "linewidths": 1.0}
            axes.scatter(x, y, SIZES[kind], marker=MARKS[kind], label=said, zorder=3, **style)
    # Above the axes: inside them it may lie on the frontier.
    columns = 3 if size == WIDE else 2
    figure.legend(frameon=False, loc="outside upper left", ncols=columns, labelcolor=COLOURS["ink"])
    _labels(figure, axes, results)
    return figure


def _axes(axes: Axes, results: Results, ticks: list[float]) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    shares = [100 * row.share for row in results.rows]
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} %"))
    axes.set_xlim(min(shares) / 1.35, max(shares) * 1.35)
    axes.set_xlabel(f"BitOPs, share of every layer at {results.master} bits", color=COLOURS["ink"])
    metric = results.judged_by
    name = "top-1 accuracy" if results.metric is None else metric.name
    unit = f", {metric.unit}" if metric.unit else ""
    axes.set_ylabel(f"{name} of the integer program{unit}", color=COLOURS["ink"])
    heights = [_height(results, row) for row in results.rows]
    least, most = min(heights), max(heights)
    room = max(0.12 * (most - least), 0.5 if metric.unit == PERCENT else 0.02 * max(abs(least), abs(most), 1e-9))
    axes.set_ylim(least - room, most + room)
    axes.grid(visible=True, color=COLOURS["faint"], linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(colors=COLOURS["ink"], length=0)
    axes.spines[:].set_visible(False)


def _height(results: Results, row: Row) -> float:
    """Where a row stands: its metric, fractions in percent."""
    return 100 * row.score if results.judged_by.unit == PERCENT else row.score


def _frontier(axes: Axes, results: Results) -> None:
    """A staircase: each row's metric holds until a dearer row improves on it."""
    axes.plot(*_staircase(axes, results), color=COLOURS["frontier"], linewidth=2.2, label="frontier", zorder=2)


def _staircase(axes: Axes, results: Results) -> tuple[list[float], list[float]]:
    """The frontier's corners: BitOPs in percent, and the metric."""
    first, *rows = results.best
    x, y = [100 * first.share], [_height(results, first)]
    for row in rows:
        x += [100 * row.share, 100 * row.share]
        y += [y[-1], _height(results, row)]
    return [*x, axes.get_xlim()[1]], [*y, y[-1]]


def _labels(figure: Figure, axes: Axes, results: Results) -> None:
    """Each row's name beside its point, at the first place that is free; none is better than one on another."""
    figure.draw_without_rendering()
    frame = axes.get_window_extent()
    taken: list[Any] = []
    spots = [axes.transData.transform((100 * row.share, _height(results, row))) for row in results.rows]
    line = _dense(axes.transData.transform(np.transpose(_staircase(axes, results))))
    order = sorted(range(len(spots)), key=lambda i: results.rows[i].kind == "uniform")  # the many give way to the few
    for i in order:
        others = [spot for j, spot in enumerate(spots) if j != i]
        for text in _tries(axes, results, results.rows[i]):
            box = text.get_window_extent()
            inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
            free = not any(box.overlaps(other) for other in taken)
            if inside and free and not any(box.contains(x, y) for x, y in (*others, *line)):
                taken.append(box)
                break
            text.remove()


def _dense(corners: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Points along the line through ``corners`` ``[N, 2]``, close enough that no label slips between two."""
    return np.concatenate([np.linspace(a, b, 200) for a, b in pairwise(corners)])


def _tries(axes: Axes, results: Results, row: Row) -> Iterator[Any]:
    at = (100 * row.share, _height(results, row))
    for dx, dy, ha, va in PLACES:
        style: dict[str, Any] = {"ha": ha, "va": va, "fontsize": 9.5, "color": COLOURS[row.kind], "zorder": 4}
        yield axes.annotate(row.label, at, (dx, dy), textcoords="offset points", **style)
