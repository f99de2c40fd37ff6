"""One self-contained HTML page of a run's results: no script, no network, light and dark."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Iterable
from html import escape
from importlib.resources import files
from string import Template

import numpy as np
from PIL import Image

from dqt.arith.files import write_file
from dqt.program.task import PERCENT
from dqt.report.plots import NARROW, accuracy_svg
from dqt.report.results import Auto, LayerRecord, Results, Row, Sample, mean_width
from dqt.report.tables import (
    COMPARISON,
    as_good,
    columns,
    facts,
    percent,
    quantity,
    row_cells,
    row_head,
    score,
    verdict,
)

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""The browser itself refuses anything that is not on the page."""

PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="$policy">
<title>$name</title>
<style>
$css</style>
</head>
<body>
<main>
<header>
<h1>$name</h1>
<p class="lead">$headline</p>
<p class="note">$facts</p>
$verdict
</header>
$sections
<footer>BitOPs: multiply-accumulates times the weights' width times the activations' width, summed over the layers that
carry a width; where the widths depend on the input, the mean over the samples of everything that ran. $judged
Served = defined: of the samples that were compared, those on which the engine gave every integer that the
interpreter gives, which defines the program.</footer>
</main>
</body>
</html>
""")


def write_page(results: Results, path: str | os.PathLike[str]) -> None:
    """Write the page to the file ``path``.

    Raises:
        ImportError: matplotlib is not installed.
        OSError: it cannot be written, see :func:`dqt.arith.files.write_file`.
    """
    write_file(path, page(results))


def page(results: Results) -> str:
    """The page as text.

    Raises:
        ImportError: matplotlib is not installed.
    """
    sections = [_chart(results), _runs(results), _heat_map(results)]
    if results.auto is not None:
        sections += [_histogram(results, results.auto), _samples(results, results.auto)]
    return PAGE.substitute(
        policy=escape(POLICY),
        name=escape(results.name),
        css=files("dqt.report").joinpath("page.css").read_text(encoding="utf-8"),
        headline=escape(headline(results)),
        facts=escape(facts(results)),
        judged=escape(_judged(results)),
        verdict=_verdict(results),
        sections="\n".join([*filter(None, sections), _accumulators(results.layers)]),
    )


def headline(results: Results) -> str:
    """The result in one sentence: the dearest uniform width, and the cheapest run near it.

    Near is within one point of a fraction, and within 1 % of another metric's value.
    """
    metric = results.judged_by
    uniform = [row for row in results.rows if row.kind == "uniform"]
    full = max(uniform or results.rows, key=lambda row: row.bitops)
    slack = 0.01 if metric.unit == PERCENT else 0.01 * abs(full.score)
    sign = 1 if metric.higher else -1
    near = [row for row in results.rows if sign * row.score >= sign * full.score - slack]
    cheap = min(near, key=lambda row: row.bitops)
    said = f"{full.label}: {score(results, full.score)} {metric.name} in integers alone."
    if cheap is full:
        return said
    factor = full.bitops / cheap.bitops if cheap.bitops else float("inf")
    return f"{said} {cheap.label}: {score(results, cheap.score)} at {factor:.1f} times fewer BitOPs."


def _judged(results: Results) -> str:
    if results.metric is None:
        return (
            "Accuracy: top-1. Agreement: the share of samples on which the integer program and the trained network "
            "give the same class."
        )
    better = "larger" if results.metric.higher else "smaller"
    return (
        f"{results.metric.name}: {better} is better. Agreement: the share of answers that the integer program and the "
        "trained network have in common."
    )


def _verdict(results: Results) -> str:
    said = verdict(results)
    kind = "differs" if any(row.differs for row in results.rows) else "note"
    return f"<p class='{kind}'>{escape(said)}</p>" if said else ""


def _chart(results: Results) -> str:
    return f"""<section>
<h2>{_title(results)} against BitOPs</h2>
<figure>
{accuracy_svg(results)}{accuracy_svg(results, NARROW)}
<figcaption id="chart-caption">Each point is one way to run the same file. The line is the frontier: up to each cost,
the best {_title(results) if results.metric else "accuracy"} that any run reaches.</figcaption>
</figure>
</section>"""


def _title(results: Results) -> str:
    return "Accuracy" if results.metric is None else escape(results.metric.name)


def _runs(results: Results) -> str:
    best = {row.label for row in results.best}
    kept, heads = columns(results), row_head(results)
    head = "".join(f"<th scope='col'>{escape(heads[i])}</th>" for i in kept)
    body = []
    for row in results.rows:
        cells = row_cells(results, row)
        classes = f"{row.kind} best" if row.label in best else row.kind
        first = f"<th scope='row'><span class='dot'></span>{escape(cells[0])}</th>"
        wrong, mark = COMPARISON if row.differs else None, " class='differs'"
        rest = "".join(f"<td{mark if i == wrong else ''}>{escape(cells[i])}</td>" for i in kept[1:])
        body.append(f"<tr class='{classes}'>{first}{rest}</tr>")
    table = f"<table class='runs'><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"
    return f"""<section>
<h2>Every run</h2>
<p class="note">Bold: on the frontier, no other run is as cheap and {escape(as_good(results))}.</p>
<div class="scroll">{table}</div>
</section>"""


def _heat_map(results: Results) -> str:
    rows = [row for row in results.rows if row.widths]
    if not rows:
        return ""
    head = "".join(f"<th scope='col'><span>{escape(layer.name)}</span></th>" for layer in results.layers)
    body = "".join(f"<tr><th scope='row'>{escape(row.label)}</th>{_heat_cells(results, row)}</tr>" for row in rows)
    table = f"<table class='heat'><thead><tr><td></td>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f"""<section>
<h2>Widths by layer</h2>
<p class="note">Bits of the weights; where the activations' width differs, both. Where the widths depend on the input,
the mean.</p>
<div class="scroll">{table}</div>
</section>"""


def _heat_cells(results: Results, row: Row) -> str:
    cells = []
    for layer in results.layers:
        weights, inputs = row.widths[layer.name]
        text = _bits(weights) if weights == inputs else f"{_bits(weights)}/{_bits(inputs)}"
        title = f"{row.label}, {layer.name}: weights {_bits(weights)}, activations {_bits(inputs)} bits"
        style = _shade((weights + inputs) / 2, results.master)
        cells.append(f"<td {style} title='{escape(title)}'>{text}</td>")
    return "".join(cells)


def _histogram(results: Results, auto: Auto) -> str:
    widths = sorted({width for counts in auto.histogram.values() for width in counts})
    key = "".join(f"<span {_shade(width, results.master)}>{width}</span>" for width in widths)
    chosen = [(layer.name, auto.histogram[layer.name]) for layer in results.layers if layer.name in auto.histogram]
    if len(chosen) > 1 and all(counts == chosen[0][1] for _, counts in chosen):  # one width for the whole network
        chosen = [(f"all {len(chosen)} layers", chosen[0][1])]
    rows = [_chosen(results, name, counts) for name, counts in chosen]
    head = "<tr><th scope='col'>layer</th><th scope='col'>mean</th><th scope='col'>share of the samples</th></tr>"
    return f"""<section>
<h2>What the controller chose</h2>
<p class="note">For each layer, the share of the samples that ran it at each width.</p>
<div class="key">bits {key}</div>
<div class="scroll"><table class="bars"><thead>{head}</thead><tbody>{"".join(rows)}</tbody></table></div>
</section>"""


def _chosen(results: Results, name: str, counts: dict[int, int]) -> str:
    bar = "".join(_segment(width, counts[width] / sum(counts.values()), results.master) for width in sorted(counts))
    first = f"<th scope='row'>{escape(name)}</th><td>{mean_width(counts):.2f}</td>"
    return f"<tr>{first}<td><div class='bar'>{bar}</div></td></tr>"


def _segment(width: int, share: float, master: int) -> str:
    if not share:
        return ""
    title = f"{width} bits: {percent(share, 1)}"
    return f"<i style='--w:{_level(width, master)};width:{100 * share:.3f}%' title='{title}'></i>"


def _samples(results: Results, auto: Auto) -> str:
    groups = []
    for difficulty, words in (("easy", "Easiest: the fewest BitOPs"), ("hard", "Hardest: the most BitOPs")):
        chosen = [sample for sample in auto.samples if sample.difficulty == difficulty]
        if chosen:
            cards = "".join(_card(results, sample) for sample in chosen)
            groups.append(f"<h3>{words}</h3><div class='samples'>{cards}</div>")
    if not groups:
        return ""
    return f"""<section>
<h2>Easy and hard inputs</h2>
<p class="note">Under each input, the widths that its layers got, from the first to the last.</p>
{"".join(groups)}
</section>"""


def _card(results: Results, sample: Sample) -> str:
    right = sample.label == sample.prediction
    verdict = "" if right else f" <span class='wrong'>read as {escape(sample.prediction)}</span>"
    bars = "".join(
        f"<i style='--w:{_level(width, results.master)}' title='{escape(layer.name)}: {width} bits'></i>"
        for layer, width in zip(results.layers, sample.widths, strict=True)
    )
    chosen = [
        width
        for layer, width in zip(results.layers, sample.widths, strict=True)
        if results.auto is None or layer.name in results.auto.histogram
    ]
    mean = sum(chosen) / len(chosen) if chosen else 0.0
    return (
        f"<div class='sample'><img alt='{escape(sample.label)}' src='{_data_uri(sample)}'>"
        f"<p>{escape(sample.label)}{verdict}<br>mean {mean:.1f} bits</p><div class='strip'>{bars}</div></div>"
    )


def _accumulators(layers: Iterable[LayerRecord]) -> str:
    rows = []
    for layer in layers:
        bits = layer.accumulator_bits
        bar = f"<div class='bar'><i class='proved' style='width:{min(100, 100 * bits / 32):.3f}%'></i></div>"
        cells = _cells((quantity(layer.macs), quantity(layer.weights), str(bits)))
        rows.append(f"<tr><th scope='row'>{escape(layer.name)}</th>{cells}<td>{bar}</td></tr>")
    head = "".join(f"<th scope='col'>{text}</th>" for text in ("layer", "MACs", "weights", "bits", "of 32"))
    return f"""<section>
<h2>Accumulators</h2>
<p class="note">Bits that hold every sum which any input can produce at any width, proved from the weights. A program
needs 32 or fewer.</p>
<div class="scroll"><table class="bars"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>
</section>"""


def _data_uri(sample: Sample) -> str:
    if isinstance(sample.image, str):
        return f"data:image/png;base64,{sample.image}"
    buffer = io.BytesIO()
    Image.fromarray(np.array(sample.image, dtype=np.uint8)).save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _cells(texts: Iterable[str]) -> str:
    return "".join(f"<td>{escape(text)}</td>" for text in texts)


def _level(width: float, master: int) -> str:
    """A width as a number in [0, 1] for the style sheet: 1 bit is 0, the master 1."""
    return f"{(width - 1) / max(1, master - 1):.3f}"


def _shade(width: float, master: int) -> str:
    """A cell's colour. Between the two halves is a gap: on the tones of the middle neither text colour can be read."""
    level = float(_level(width, master))
    high, tone = (" high", 0.4 + 0.6 * level) if level > 0.5 else ("", 0.6 * level)
    return f"class='bits{high}' style='--w:{tone:.3f}'"


def _bits(width: float) -> str:
    return f"{width:.0f}" if float(width).is_integer() else f"{width:.1f}"
