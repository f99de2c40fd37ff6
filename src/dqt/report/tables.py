"""Markdown tables of a run's results, and how its numbers are written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dqt.report.results import Results, Row, frontier, mean_width

NONE = "–"
STEP = 1000


def percent(value: float | None, digits: int = 2) -> str:
    """``0.9173`` -> ``91.73 %``; a dash for None."""
    return NONE if value is None else f"{100 * value:.{digits}f} %"


def quantity(value: float, unit: str = "") -> str:
    """Three significant digits, a decimal prefix: ``40551424`` -> ``40.6 M``; below 1000, whole numbers as they are."""
    for prefix in ("", "k", "M", "G", "T", "P", "E"):
        if value < 999.5 or prefix == "E":
            break
        value /= STEP
    digits = f"{value:.0f}" if prefix == "" and float(value).is_integer() else f"{value:#.3g}".rstrip(".")
    return f"{digits} {prefix}{unit}".rstrip()


def weight_bytes(results: Results, row: Row) -> float | None:
    """Bytes of weight bits that one sample reads (docs/numerics.md, equation 20); None if the widths are not known."""
    if not row.widths:
        return None
    return sum(layer.weights * row.widths[layer.name][0] for layer in results.layers) / 8


ROW_HEAD = ("run", "accuracy trained", "accuracy integer", "agreement", "BitOPs", "share", "weights read")


def row_cells(results: Results, row: Row) -> tuple[str, ...]:
    """One row of the main table, in the order of ``ROW_HEAD``."""
    read = weight_bytes(results, row)
    return (
        row.label,
        percent(row.accuracy_trained),
        percent(row.accuracy_integer),
        percent(row.agreement),
        quantity(row.bitops),
        percent(row.share, 1),
        NONE if read is None else quantity(read, "B"),
    )


def facts(results: Results) -> str:
    """One sentence: what was run, on what, how large."""
    macs = quantity(sum(layer.macs for layer in results.layers))
    weights = quantity(sum(layer.weights for layer in results.layers))
    size = quantity(results.model_bytes, "B")
    return (
        f"{results.samples:,} samples of {results.data}; {len(results.layers)} layers, {macs} MACs, {weights} weights; "
        f"one file of {size} for every row."
    )


def markdown(results: Results) -> str:
    """The results as Markdown: the main table, the layers, and the controller's widths if there is one."""
    best = {row.label for row in frontier(results.rows)}
    rows = []
    for row in results.rows:
        label, *cells = (_escaped(cell) for cell in row_cells(results, row))
        rows.append((f"**{label}**" if row.label in best else label, *cells))
    parts = [
        f"# {_escaped(results.name)}",
        _escaped(facts(results)),
        _table(ROW_HEAD, rows),
        "Bold: on the frontier, no other run is as cheap and as accurate.",
        "## Layers",
        _table(("layer", "MACs", "weights", "accumulator bits"), _layers(results)),
    ]
    if results.auto is not None:
        parts += ["## Widths that the controller chose", _histogram(results)]
    return "\n\n".join(parts) + "\n"


def _layers(results: Results) -> Iterable[Sequence[str]]:
    for layer in results.layers:
        bits = str(layer.accumulator_bits)
        yield (_escaped(layer.name), quantity(layer.macs), quantity(layer.weights), bits)


def _histogram(results: Results) -> str:
    assert results.auto is not None
    histogram = results.auto.histogram
    widths = sorted({width for counts in histogram.values() for width in counts})
    rows = []
    for layer in results.layers:
        counts = histogram.get(layer.name)
        if counts is not None:
            total = sum(counts.values())
            shares = (percent(counts.get(width, 0) / total, 1) for width in widths)
            rows.append((_escaped(layer.name), f"{mean_width(counts):.2f}", *shares))
    return _table(("layer", "mean", *(f"{width} bits" for width in widths)), rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    rule = ["---", *("---:" for _ in head[1:])]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, rule, *rows))


def _escaped(text: str) -> str:
    """Text that stays one cell: no line break, no bar, no markup."""
    flat = " ".join(text.split())
    for char in "\\|*_`<":
        flat = flat.replace(char, f"\\{char}")
    return flat
