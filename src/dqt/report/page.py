"""One self-contained HTML page of a run's results, or of two: no network, light and dark.

The page is whole without its script, which sorts tables, shows what is under the pointer and switches the theme.
"""

from __future__ import annotations

import base64
import hashlib
import os
from html import escape
from importlib.resources import files
from string import Template

from dqt.arith.files import write_file
from dqt.program.task import PERCENT
from dqt.report import cards, compare, sections, widths
from dqt.report.results import Results
from dqt.report.tables import facts, score, verdict

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
<button id="theme" type="button" hidden>theme: as the system</button>
<h1>$name</h1>
<p class="lead">$headline</p>
$facts
</header>
$sections
<footer>BitOPs: multiply-accumulates times the weights' width times the activations' width, summed over the layers that
carry a width; where the widths depend on the input, the mean over the samples of everything that ran. $judged
Served = defined: of the samples that were compared, those on which the engine gave every integer that the
interpreter gives, which defines the program.</footer>
</main>
<div id="tip" role="tooltip" hidden></div>
<script>$script</script>
</body>
</html>
""")


def write_page(results: Results, path: str | os.PathLike[str], other: Results | None = None) -> None:
    """Write the page to the file ``path``; of two runs, if there is an ``other``.

    Raises:
        ResultsError: the two are judged by different metrics.
        OSError: it cannot be written, see :func:`dqt.arith.files.write_file`.
    """
    write_file(path, page(results, other))


def page(results: Results, other: Results | None = None) -> str:
    """The page as text.

    Raises:
        ResultsError: the two are judged by different metrics.
    """
    if other is not None:
        compare.comparable(results, other)
    parts = _alone(results) if other is None else _beside(results, other)
    every = [results] if other is None else [results, other]
    script = files("dqt.report").joinpath("page.js").read_text(encoding="utf-8")
    return PAGE.substitute(
        policy=escape(_policy(script)),
        name=escape(" and ".join(one.name for one in every)),
        css=files("dqt.report").joinpath("page.css").read_text(encoding="utf-8"),
        headline=escape(headline(results) if other is None else compare.headline(results, other)),
        facts="\n".join(_facts(one, named=other is not None) for one in every),
        judged=escape(_judged(results)),
        sections="\n".join(filter(None, parts)),
        script=script,
    )


def _policy(script: str) -> str:
    """The browser itself refuses anything that is not on the page, and every script but this one."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    return f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'"


def _alone(results: Results) -> list[str]:
    parts = [sections.charts(results), sections.runs(results), widths.by_layer(results)]
    if results.auto is not None:
        auto = results.auto
        parts += [widths.histogram(results, auto), widths.by_sample(results, auto)]
        parts += [cards.extremes(results, auto), cards.by_width(results, auto)]
    return [*parts, sections.layers(results)]


def _beside(first: Results, second: Results) -> list[str]:
    parts = [sections.charts(first, second), sections.beside(first, second), widths.by_layer(first, second)]
    return parts + [sections.runs(each, i, f"Every run of {each.name}") for i, each in enumerate((first, second))]


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
            "Accuracy: top-1. Agreement: relative frequency of samples on which the integer program and the trained "
            "network give the same class."
        )
    better = "larger" if results.metric.higher else "smaller"
    return (
        f"{results.metric.name}: {better} is better. Agreement: relative frequency of answers that the integer program "
        "and the trained network have in common."
    )


def _facts(results: Results, *, named: bool) -> str:
    """What was run, and whether its integers are those that are defined."""
    name = f"{results.name}: " if named else ""
    said = verdict(results)
    kind = "differs" if any(row.differs for row in results.rows) else "note"
    checked = f"\n<p class='{kind}'>{escape(name + said)}</p>" if said else ""
    return f"<p class='note'>{escape(name + facts(results))}</p>{checked}"
