"""Markdown tables of a run's results, and how its numbers are written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dqt.program.task import shown
from dqt.report.results import Results, Row, mean_width

NONE = "–"
STEP = 1000
SERVED = "served = defined"
"""Head of the column that says on how many samples the engine gave the integers of the interpreter."""
DEFECT = "This is a defect of dqt: run with the interpreter (--engine interpret), and please report it."


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


TRAINED, INTEGER, AGREEMENT, COMPARISON = 1, 2, 3, 4
"""Columns of the main table."""


def row_head(results: Results) -> tuple[str, ...]:
    """The heads of the main table."""
    name = "accuracy" if results.metric is None else results.metric.name
    heads = ("agreement", SERVED, "BitOPs", "relative BitOPs", "weights read", "time")
    return ("run", f"{name} trained", f"{name} integer", *heads)


def score(results: Results, value: float | None) -> str:
    """A value of the metric in words: ``91.73 %``, ``0.1234``; a dash for None."""
    return shown(value, results.judged_by.unit)


def columns(results: Results) -> list[int]:
    """The columns of the main table, as indices into ``row_head``: those that say something of at least one row."""
    cells = [row_cells(results, row) for row in results.rows]
    return [i for i in range(len(row_head(results))) if i == 0 or any(row[i] != NONE for row in cells)]


def row_cells(results: Results, row: Row) -> tuple[str, ...]:
    """One row of the main table, in the order of :func:`row_head`."""
    read = weight_bytes(results, row)
    return (
        row.label,
        score(results, row.trained),
        score(results, row.score),
        percent(row.agreement),
        NONE if row.served is None else f"{row.served.equal:,} of {row.served.samples:,}",
        quantity(row.bitops),
        percent(row.share, 1),
        NONE if read is None else quantity(read, "B"),
        NONE if row.time is None else f"{row.time.ms:.3g} ms",
    )


def row_values(results: Results, row: Row) -> tuple[float | None, ...]:
    """The numbers by which the cells of a row are sorted; None of its name, and of what is not known."""
    served = None if row.served is None else row.served.equal
    read, ms = weight_bytes(results, row), None if row.time is None else row.time.ms
    return (None, row.trained, row.score, row.agreement, served, row.bitops, row.share, read, ms)


def facts(results: Results) -> str:
    """One sentence: what was run, on what, how large."""
    macs = quantity(sum(layer.macs for layer in results.layers))
    weights = quantity(sum(layer.weights for layer in results.layers))
    size = quantity(results.model_bytes, "B")
    return (
        f"{results.samples:,} samples of {results.data}; {len(results.layers)} layers, {macs} MACs, {weights} weights; "
        f"one file of {size} for every row."
    )


def verdict(results: Results) -> str:
    """Whether the integers that were served are those of the interpreter, in words; empty where nothing is recorded."""
    wrong = [row for row in results.rows if row.differs]
    if wrong:
        said = "; ".join(f"{row.label}: equal on {row_cells(results, row)[COMPARISON]}" for row in wrong)
        return f"The engine's integers are not the defined ones ({said} samples). {DEFECT}"
    if results.engine == "interpret":
        return "Run by the interpreter itself, which defines the integers."
    compared = [row.served for row in results.rows if row.served is not None]
    if not compared:
        return "" if results.engine is None else "The integers were not compared with the interpreter's."
    missing = [row.label for row in results.rows if row.served is None]
    least = min(one.samples for one in compared)
    where = f"in every row but {', '.join(missing)}" if missing else "in every row"
    return f"{SERVED} on {least:,} of {least:,} samples {where}: the engine gave the integers of the interpreter."


def markdown(results: Results, *beside: tuple[Sequence[str], Iterable[Sequence[str]]]) -> str:
    """The results as Markdown: the main table, the layers, and the controller's widths if there is one.

    ``beside``: head and rows of more tables, such as those of a comparison with another run.
    """
    best = {row.label for row in results.best}
    kept, heads = columns(results), row_head(results)
    rows = []
    for row in results.rows:
        cells = [_escaped(cell) for cell in row_cells(results, row)]
        if row.label in best:
            cells[0] = f"**{cells[0]}**"
        if row.differs:
            cells[COMPARISON] = f"**{cells[COMPARISON]}**"
        rows.append([cells[i] for i in kept])
    parts = [
        f"# {_escaped(results.name)}",
        _escaped(facts(results)),
        _table([_escaped(heads[i]) for i in kept], rows),
        *_verdict(results),
        f"Bold: on the frontier, no other run is as cheap and {as_good(results)}.",
        "## Layers",
        _table(("layer", "MACs", "weights", "accumulator bits"), _layers(results)),
    ]
    if results.auto is not None:
        parts += ["## Widths that the controller chose", _histogram(results)]
    for head, lines in beside:
        rows = [[_escaped(cell) for cell in line] for line in lines]
        parts += ["## Beside another run", _table([_escaped(name) for name in head], rows)]
    return "\n\n".join(parts) + "\n"


def as_good(results: Results) -> str:
    """How a run on the frontier compares."""
    return "as accurate" if results.metric is None else f"as good in {results.metric.name}"


def _verdict(results: Results) -> Iterable[str]:
    said = _escaped(verdict(results))
    if said:
        yield f"**{said}**" if any(row.differs for row in results.rows) else said


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
