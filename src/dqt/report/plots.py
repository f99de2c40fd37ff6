"""Pictures for papers and documents: the metric against its costs, widths by layer, widths by layer and sample."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dqt.arith.files import write_file
from dqt.report.axes import BITOPS, Axis, Point, axes_of, cost_scale, front, metric_scale, points, staircase
from dqt.report.chart import NAMES
from dqt.report.results import Kind, Results
from dqt.report.widths import chosen_layers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

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
"""Role -> colour in a picture."""
PLACES = ((0, 9, "center", "bottom"), (0, -9, "center", "top"), (10, 0, "left", "center"), (-10, 0, "right", "center"))
"""Where a label may stand about its point, in points of type: above, below, right, left."""
RC: Any = {
    "svg.fonttype": "none",  # text stays text: it takes the font of what shows it
    "svg.hashsalt": "dqt",  # the same results give the same picture
    "text.parse_math": False,  # a label is never a formula
    "font.size": 10.5,
}
WIDTH, HEIGHT, DPI = 8.2, 4.6, 200
"""Inches, and dots for each."""


def save_pictures(results: Results, folder: str | os.PathLike[str], other: Results | None = None) -> list[Path]:
    """Everything that can be drawn, as PNG files in ``folder``, which is made; gives their paths.

    With ``other`` both runs are in the charts.

    Raises:
        ImportError: matplotlib is not installed.
        OSError: a file cannot be written, see :func:`dqt.arith.files.write_file`.
    """
    root = Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    runs = (results,) if other is None else (results, other)
    with _style():
        found = {f"accuracy-{axis.key}": _figure(axis, *runs) for axis in axes_of(*runs)}
        if any(row.widths for row in results.rows):
            found["widths"] = _widths(results)
        if results.auto is not None and results.auto.by_sample:
            found["widths-by-sample"] = _by_sample(results)
        return [_write(figure, root / f"{name}.png") for name, figure in found.items()]


def save_picture(results: Results, path: str | os.PathLike[str], axis: Axis = BITOPS) -> None:
    """The metric against one cost on a light ground; the suffix (``.png``, ``.svg``, ``.pdf``) says which format.

    Raises:
        ImportError: matplotlib is not installed.
        OSError: it cannot be written, see :func:`dqt.arith.files.write_file`.
    """
    with _style():
        _write(_figure(axis, results), Path(path))


def _write(figure: Figure, path: Path) -> Path:
    picture = io.BytesIO()
    kind = path.suffix[1:] or "png"
    figure.savefig(picture, format=kind, dpi=DPI, facecolor=COLOURS["paper"])
    write_file(path, picture.getbuffer())
    return path


def _style() -> Any:
    try:
        from matplotlib import rc_context
    except ModuleNotFoundError as error:
        raise ImportError('pictures need matplotlib, which is not installed: pip install "dqt[report]"') from error
    return rc_context(RC)


def _new(height: float = HEIGHT) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.add_subplot()
    axes.tick_params(colors=COLOURS["ink"], length=0)
    axes.spines[:].set_visible(False)
    return figure, axes


def _figure(axis: Axis, *runs: Results) -> Figure:
    """One or two runs against ``axis``; the points of the second are hollow, its frontier dashed."""
    figure, axes = _new()
    found = [points(results, axis) for results in runs]
    every = [point for each in found for point in each]
    _scales(axes, axis, runs[0], every)
    corners = []
    for number, (results, each) in enumerate(zip(runs, found, strict=True)):
        best = staircase(front(each, higher=results.judged_by.higher), axes.get_xlim()[1])
        corners.append(best)
        name = "frontier" if len(runs) == 1 else f"{results.name}: {('filled', 'hollow')[number]}"
        style = ("-", "--")[number]
        axes.plot(*np.transpose(best), style, color=COLOURS["frontier"], linewidth=2.2, label=name, zorder=2)
        for kind in NAMES:
            _scatter(axes, kind, [point for point in each if point.row.kind == kind], number)
    # Above the axes: inside them it may lie on the frontier.
    figure.legend(frameon=False, loc="outside upper left", ncols=3, labelcolor=COLOURS["ink"])
    named = {point.row.label: point for each in reversed(found) for point in each}  # once, of the first run
    _labels(figure, axes, list(named.values()), corners)
    return figure


def _scatter(axes: Axes, kind: Kind, found: Sequence[Point], number: int) -> None:
    if found:
        colour, paper = COLOURS[kind], COLOURS["paper"]
        faces = {"color": colour, "edgecolors": paper, "linewidths": 1.0, "label": NAMES[kind]}
        hollow = {"color": paper, "edgecolors": colour, "linewidths": 1.3}
        x, y = [point.x for point in found], [point.y for point in found]
        style: dict[str, Any] = hollow if number else faces
        axes.scatter(x, y, SIZES[kind], marker=MARKS[kind], zorder=3, **style)


def _scales(axes: Axes, axis: Axis, results: Results, found: Sequence[Point]) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    metric = results.judged_by
    across, up = cost_scale([point.x for point in found], 9), metric_scale([point.y for point in found], metric.unit)
    axes.set_xscale("log" if across.logarithmic else "linear")
    axes.xaxis.set_major_locator(FixedLocator(across.ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: axis.tick(value)))
    axes.set_xlim(across.low, across.high)
    axes.set_ylim(up.low, up.high)
    axes.set_xlabel(axis.label(results), color=COLOURS["ink"])
    name = "top-1 accuracy" if results.metric is None else metric.name
    axes.set_ylabel(f"{name} of the integer program{f', {metric.unit}' if metric.unit else ''}", color=COLOURS["ink"])
    axes.grid(visible=True, color=COLOURS["faint"], linewidth=0.7)
    axes.set_axisbelow(True)


def _labels(figure: Figure, axes: Axes, found: Sequence[Point], lines: Sequence[Sequence[tuple[float, float]]]) -> None:
    """Each row's name beside its point, at the first place that is free; none is better than one on another."""
    figure.draw_without_rendering()
    frame = axes.get_window_extent()
    taken: list[Any] = []
    spots = [axes.transData.transform((point.x, point.y)) for point in found]
    line = np.concatenate([_dense(axes.transData.transform(np.array(corners))) for corners in lines])
    order = sorted(range(len(spots)), key=lambda i: found[i].row.kind == "uniform")  # the many give way to the few
    for i in order:
        others = [spot for j, spot in enumerate(spots) if j != i]
        for text in _tries(axes, found[i]):
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


def _tries(axes: Axes, point: Point) -> Iterator[Any]:
    for dx, dy, ha, va in PLACES:
        style: dict[str, Any] = {"ha": ha, "va": va, "fontsize": 9.5, "color": COLOURS[point.row.kind], "zorder": 4}
        yield axes.annotate(point.row.label, (point.x, point.y), (dx, dy), textcoords="offset points", **style)


def _widths(results: Results) -> Figure:
    """The weights' widths by run and layer."""
    rows = [row for row in results.rows if row.widths]
    names = [layer.name for layer in results.layers]
    values = np.array([[row.widths[name][0] for name in names] for row in rows])
    figure, axes = _map(values, results, 1.2 + 0.26 * len(rows))
    axes.set_yticks(range(len(rows)), [row.label for row in rows])
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=7)
    return figure


def _by_sample(results: Results) -> Figure:
    """The chosen widths by layer and sample, the cheapest sample on the left."""
    assert results.auto is not None
    kept = chosen_layers(results, results.auto)
    values = np.array([[int(digits[i]) for digits in results.auto.by_sample] for i in kept])
    figure, axes = _map(values, results, 1.2 + 0.16 * len(kept))
    axes.set_yticks(range(len(kept)), [results.layers[i].name for i in kept], fontsize=7)
    axes.set_xticks([])
    axes.set_xlabel("samples, from the fewest BitOPs to the most", color=COLOURS["ink"])
    return figure


def _map(values: npt.NDArray[np.float64], results: Results, height: float) -> tuple[Figure, Axes]:
    figure, axes = _new(height)
    shown = axes.imshow(values, aspect="auto", cmap="Blues", vmin=1, vmax=results.master, interpolation="nearest")
    figure.colorbar(shown, ax=axes, label="bits", ticks=range(1, results.master + 1))
    return figure, axes
