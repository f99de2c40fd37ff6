"""The tables of docs/results.md on training with a late decision in view: from the record of ``bench.joint``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from statistics import mean
from typing import Any

from bench.common import RESULTS
from bench.markdown import table
from bench.pages.late import spread

WORDS = {
    "wide": "at every width, 4 epochs",
    "wide-longer": "the same, an epoch more",
    "wide-joint": "an epoch more with a late decision in view",
}
WIDTHS = ("network", "8 bits", "4 bits", "3 bits", "2 bits", "oracle")
INSIDE = (
    "network",
    "decision behind layer1",
    "top-1 of each",
    "BitOPs, %",
    "own choices",
    "dealt",
    "uniform there",
    "oracle",
)
AGAIN = ("network", "asked for", "BitOPs, %", "top-1", "dealt", "uniform there", "cascade", "its BitOPs, %")
FIGURES = ("share", "own", "dealt", "uniform", "cascade", "cascade share")
SECOND = "second classifier"


def judged() -> dict[str, Any]:
    """What the record says of each run, in the order of the page."""
    path = RESULTS / "joint.json"
    results = json.loads(path.read_text())["results"] if path.exists() else {}
    return {name: results[name] for name in WORDS if name in results}


def block() -> str:
    """The tables; empty without a record."""
    found = judged()
    if not found:
        return ""
    parts = [
        table(WIDTHS, [_widths(WORDS[name], each) for name, each in found.items()]),
        _second(found),
        table(INSIDE, [row for name, each in found.items() for row in _inside(WORDS[name], each)], left=2),
        table(AGAIN, [row for name, each in found.items() for row in _again(WORDS[name], each)], left=2),
    ]
    return "\n".join(part for part in parts if part)


def _widths(words: str, found: dict[str, Any]) -> tuple[str, ...]:
    again = found["again"]
    top1 = dict(zip(found["widths"], again["top1"], strict=True))
    return (words, *(f"{top1[b]:.2f}" for b in (8, 4, 3, 2)), f"{again['oracle']:.2f}")


def _second(found: dict[str, Any]) -> str:
    known = [each["inside"][SECOND] for each in found.values() if SECOND in each["inside"]]
    return f"The second classifier is right about {known[0]:.2f} % of the test images at 3 bits.\n" if known else ""


def _inside(words: str, found: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    rows = {label: row for label, row in found["inside"].items() if isinstance(row, dict)}
    for label, row in rows.items():
        if "top1" in row:
            listed = ", ".join(f"{value:.2f}" for value in row["top1"])
            figures = [spread([100 * share for share in row["share"]])]
            figures += [spread(row[key]) for key in ("own", "dealt", "uniform")]
            yield (words, label, listed, *figures, f"{row['oracle']:.2f}")
        else:
            yield (words, label, "", *(f"{row[key]:.2f}" for key in ("share", "own", "dealt", "uniform")), "")


def _again(words: str, found: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for row in found["again"]["rows"]:
        if row["learned"] == "held-out images":
            yield (words, f"{row['bits']:g} bits: {row['budget']:.2f} %", *(f"{mean(row[key]):.2f}" for key in FIGURES))
