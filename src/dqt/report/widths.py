"""Widths on the page: by layer and run, by layer and sample, and how often a controller chose each."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from itertools import groupby

from dqt.report.html import Cell, Line, in_bits, section, shade, table, tone
from dqt.report.records import Auto
from dqt.report.results import Results, Row, mean_width
from dqt.report.tables import percent


def by_layer(*runs: Results) -> str:
    """A heat map of runs and layers; of several results one map each, or one for all where the layers are the same."""
    names = [[layer.name for layer in results.layers] for results in runs]
    joined = [runs] if all(each == names[0] for each in names) else [(results,) for results in runs]
    maps = [_map(part, several=len(runs) > 1) for part in joined]
    if not any(maps):
        return ""
    note = "Bits of the weights, and of the activations where they differ. Where widths depend on the input, the mean."
    return section("Widths by layer", note, *maps)


def _map(runs: tuple[Results, ...], *, several: bool) -> str:
    rows = [(results, row) for results in runs for row in results.rows if row.widths]
    if not rows:
        return ""
    heads = "".join(f"<th scope='col'><span>{escape(layer.name)}</span></th>" for layer in runs[0].layers)
    body = "".join(
        f"<tr><th scope='row'>{escape(f'{results.name}: {row.label}' if several else row.label)}</th>"
        f"{_shades(results, row)}</tr>"
        for results, row in rows
    )
    return (
        "<div class='scroll'><table class='heat'><thead><tr><td></td>"
        f"{heads}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _shades(results: Results, row: Row) -> str:
    cells = []
    for layer in results.layers:
        weights, inputs = row.widths[layer.name]
        text = in_bits(weights) if weights == inputs else f"{in_bits(weights)}/{in_bits(inputs)}"
        title = f"{row.label}, {layer.name}: weights {in_bits(weights)}, activations {in_bits(inputs)} bits"
        cells.append(f"<td {shade((weights + inputs) / 2, results.master)} title='{escape(title)}'>{text}</td>")
    return "".join(cells)


def _key(results: Results, widths: set[int]) -> str:
    shown = "".join(f"<span {shade(width, results.master)}>{width}</span>" for width in sorted(widths))
    return f"<div class='key'>bits {shown}</div>"


def chosen_layers(results: Results, auto: Auto) -> list[int]:
    """The layers that the controller chooses widths for, as indices into ``results.layers``."""
    return [i for i, layer in enumerate(results.layers) if layer.name in auto.histogram]


def histogram(results: Results, auto: Auto) -> str:
    """How many samples ran each layer at each width; layers that share every choice are one row."""
    widths = {width for counts in auto.histogram.values() for width in counts}
    names = [results.layers[i].name for i in chosen_layers(results, auto)]
    kept = [(name, auto.histogram[name]) for name in names]
    if len(kept) > 1 and all(counts == kept[0][1] for _, counts in kept):  # one width for the whole network
        kept = [(f"all {len(kept)} layers", kept[0][1])]
    lines = [Line(escape(name), (*_mean(counts), _bar(results, counts))) for name, counts in kept]
    found = table("bars", ("layer", "mean", "relative frequency of each width"), lines)
    note = "For each layer, the fraction of the samples that ran it at each width."
    return section("What the controller chose", note, _key(results, widths), found)


def _mean(counts: dict[int, int]) -> Iterator[Cell]:
    mean = mean_width(counts)
    yield Cell(f"{mean:.2f}", mean)


def _bar(results: Results, counts: dict[int, int]) -> str:
    total, parts = sum(counts.values()), []
    for width in sorted(counts):
        part = counts[width] / total
        title = f"{width} bits: {percent(part, 1)}"
        style = f"--w:{tone(width, results.master)};width:{100 * part:.3f}%"
        parts.append(f"<i style='{style}' title='{title}'></i>")
    return f"<td><div class='bar'>{''.join(parts)}</div></td>"


def by_sample(results: Results, auto: Auto) -> str:
    """A heat map of layers and samples; layers whose widths are the same in every sample are one row."""
    if not auto.by_sample:
        return ""
    rows = [
        (results.layers[i].name, "".join(digits[i] for digits in auto.by_sample)) for i in chosen_layers(results, auto)
    ]
    if len(rows) > 1 and all(digits == rows[0][1] for _, digits in rows):
        rows = [(f"all {len(rows)} layers", rows[0][1])]
    lines = [Line(escape(name), (f"<td>{_strip(results, name, digits)}</td>",)) for name, digits in rows]
    widths = {int(digit) for _, digits in rows for digit in digits}
    note = (
        f"One column for each of {len(auto.by_sample)} samples, spread over the test set by their BitOPs: the cheapest "
        "is on the left."
    )
    found = table("map", ("layer", "samples, from the fewest BitOPs to the most"), lines)
    return section("Widths by layer and sample", note, _key(results, widths), found)


def _strip(results: Results, name: str, digits: str) -> str:
    """A row of the map: neighbours of one width are one rectangle; ``data-widths`` holds a digit for each sample."""
    parts, x = [], 0
    for digit, run in groupby(digits):
        count = len(list(run))
        parts.append(f"<rect x='{x}' width='{count}' height='1' style='--w:{tone(int(digit), results.master)}'/>")
        x += count
    return (
        f"<svg class='strip-of' viewBox='0 0 {len(digits)} 1' preserveAspectRatio='none' role='img' "
        f"aria-label='{escape(name)}' data-layer='{escape(name)}' data-widths='{digits}'>{''.join(parts)}</svg>"
    )
