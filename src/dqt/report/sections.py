"""The parts of a page that are about runs and layers: charts, the table of runs, the table of layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from dqt.report import compare
from dqt.report.axes import Axis, axes_of
from dqt.report.chart import MARKS, NARROW, WIDE, chart, legend
from dqt.report.html import Cell, Line, section, table
from dqt.report.records import LayerRecord
from dqt.report.results import Results, Row, mean_width
from dqt.report.tables import COMPARISON, as_good, columns, quantity, row_cells, row_head, row_values


def charts(*runs: Results) -> str:
    """The metric against each cost that is known; one shows at a time, and the reader chooses which."""
    axes = axes_of(*runs)
    metric = "Accuracy" if runs[0].metric is None else runs[0].metric.name
    tabs = "".join(_tab(axis, first=axis is axes[0]) for axis in axes) if len(axes) > 1 else ""
    drawn = "".join(
        f"<div class='axis by-{axis.key}'>{chart(axis, WIDE, *runs)}{chart(axis, NARROW, *runs)}</div>" for axis in axes
    )
    title = f"{metric} against {axes[0].name if len(axes) == 1 else 'cost'}"
    caption = (
        "Each point is one way to run the same file: touch one for its numbers. The line is the frontier: up to each "
        f"cost, the best {metric if runs[0].metric else 'accuracy'} that any run reaches."
    )
    return section(
        title,
        "",
        f"<figure class='charts'>{tabs}{legend(*runs)}{drawn}<figcaption>{escape(caption)}</figcaption></figure>",
    )


def _tab(axis: Axis, *, first: bool) -> str:
    """A radio button and its label: style alone shows the chart that it chooses."""
    checked = " checked" if first else ""
    return (
        f"<input type='radio' name='axis' id='axis-{axis.key}'{checked} aria-label='{escape(axis.name)}'>"
        f"<label for='axis-{axis.key}'>{escape(axis.name)}</label>"
    )


def runs(results: Results, number: int = 0, title: str = "Every run") -> str:
    """The main table."""
    kept, heads = columns(results), row_head(results)
    lines = [_run(results, row, kept, f"{number}-{i}") for i, row in enumerate(results.rows)]
    note = f"Bold: on the frontier, no other run is as cheap and {as_good(results)}."
    return section(title, note, table("runs", [heads[i] for i in kept], lines, sortable=True))


def _run(results: Results, row: Row, kept: Sequence[int], key: str) -> Line:
    texts, values = row_cells(results, row), row_values(results, row)
    wrong = COMPARISON if row.differs else None
    cells = [Cell(texts[i], values[i], "differs" if i == wrong else "") for i in kept[1:]]
    best = " best" if any(row.label == each.label for each in results.best) else ""
    return Line(f"{_dot(row)}{escape(row.label)}", cells, f" class='{row.kind}{best}' data-row='{key}'")


def _dot(row: Row) -> str:
    return f"<svg class='dot' viewBox='-10 -10 20 20' aria-hidden='true'><path d='{MARKS[row.kind]}'/></svg>"


def layers(results: Results) -> str:
    """The table of layers: what each costs, what the controller chose, and the proof of its accumulators."""
    means = {name: mean_width(counts) for name, counts in results.auto.histogram.items()} if results.auto else {}
    total = sum(layer.macs for layer in results.layers) or 1
    lines = [Line(escape(layer.name), [*_layer(i, layer, total, means)]) for i, layer in enumerate(results.layers, 1)]
    heads = ["layer", "place", "MACs", "relative MACs", "weights"]
    heads += (["mean bits, auto"] if means else []) + ["accumulator bits", "of 32"]
    note = (
        "Accumulator bits hold every sum which any input can produce at any width, proved from the weights. A program "
        "needs 32 or fewer."
    )
    return section("Layers", note, table("bars layers", heads, lines, sortable=True))


def _layer(place: int, layer: LayerRecord, total: int, means: dict[str, float]) -> Iterator[Cell | str]:
    bits, part = layer.accumulator_bits, layer.macs / total
    yield from (Cell(str(place), place), Cell(quantity(layer.macs), layer.macs), Cell(f"{100 * part:.1f} %", part))
    yield Cell(quantity(layer.weights), layer.weights)
    if means:
        mean = means.get(layer.name)
        yield Cell("–") if mean is None else Cell(f"{mean:.2f}", mean)
    yield Cell(str(bits), bits)
    yield (
        f"<td data-v='{bits}'><div class='bar'><i class='proved' style='width:{min(100, 100 * bits / 32):.3f}%'></i>"
        "</div></td>"
    )


def beside(first: Results, second: Results) -> str:
    """Two runs: the metric and the costs of every label."""
    lines = [Line(escape(pair.label), compare.cells(first, second, pair)) for pair in compare.pairs(first, second)]
    note = f"Differences: {second.name} less {first.name}. Costs: of {second.name}, relative to {first.name}."
    return section("Run beside run", note, table("runs", compare.head(first, second), lines, sortable=True))
