"""The table of the sentence encoder in docs/results.md."""

from __future__ import annotations

import json
from typing import Any

from bench.common import RESULTS
from bench.markdown import table
from bench.pages.untrained import targets

METHODS = {"whole": "fast, nothing apart", "fast": "fast", "best": "best"}


def blocks() -> dict[str, str]:
    """Name of each block of the page -> its content."""
    document = json.loads((RESULTS / "sentences.json").read_text())
    return {"sentences": sentences(document)}


def sentences(document: dict[str, Any]) -> str:
    """What ``bench/models/sentences.py`` found, and its targets, as Markdown."""
    results, settings = document["results"], document["settings"]
    there = [method for method in METHODS if method in results]
    first = results[there[0]]
    plans = dict.fromkeys(first["widths"], "widths") | dict.fromkeys(first["unlike"], "unlike")
    lines = [
        (METHODS[method], f"{label} bits" if label.isdigit() else label, *_cells(results[method][part][label]))
        for method in there
        for label, part in plans.items()
    ]
    head = ("method", "widths", "mean cosine", "least cosine", "same neighbour", "change within pairs")
    text = table(head, lines, left=2)
    judged = f"{settings['pairs']} pairs of sentences, calibration on {settings['calibration']} others."
    return f"{text}\n{judged}\n\n{targets(document['targets'])}"


def _cells(found: dict[str, float]) -> tuple[str, ...]:
    return (
        f"{found['cosine']:.4f}", f"{found['cosine_least']:.4f}", f"{100 * found['neighbours']:.1f} %",
        f"{found['pair_difference']:.4f}",
    )  # fmt: skip
