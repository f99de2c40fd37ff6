"""The table of docs/results.md on running again by what a run at 2 bits says: from the record of ``bench.again``."""

from __future__ import annotations

import json
from typing import Any

from bench.common import records_of
from bench.markdown import table
from bench.pages.late import spread

WORDS = {
    "softened choice, by all margins": "how far all others lie below the largest; the mean gain of a softened choice",
    "softened choice, by the margin": "how far the second lies below the largest; the same",
    "less loss, by all margins": "all; how much less each choice loses",
    "less loss, by the margin": "the second; the same",
    "odds, by all margins": "all; logistic regressions say how likely each width is right",
    "odds, by the margin": "the second; the same",
}
KNOWN = {
    "margin": "the margin",
    "agreement": "the margin, and what the run before says",
    "margins": "four margins",
}
LOOKS = ("widths", "a stop knows", "answer", "BitOPs, %", "runs of an image", "top-1", "uniform there")
HEADERS = ("decision by", "BitOPs, %", "runs of an image", "top-1", "dealt", "uniform there")


def blocks() -> dict[str, str]:
    """The table, and a sentence on what the widths know between them; empty without a record."""
    paths = records_of("again")
    if not paths:
        return {"again": "", "together": "", "looks": looks()}
    found = json.loads(paths[-1].read_text())["results"]
    rows = [_row(WORDS[name], row) for name, row in found["heads"].items()]
    rows += [_row(f"cascade {name}", row) for name, row in found["cascades"].items()]
    both = found["together"]
    said = (
        f"Some width is right about {both['oracle']:.2f} % of the images. The summed outputs of these five widths are "
        f"right about {both['summed']:.2f} %, and 8 bits alone about {found['top1']['8']:.2f} %."
    )
    return {"again": table(HEADERS, rows, left=1), "together": said, "looks": looks()}


def looks() -> str:
    """The table of learned looks after every run, from ``bench.looks``; empty without a record."""
    paths = records_of("looks")
    found = json.loads(paths[-1].read_text())["results"] if paths else {"rows": []}
    rows = [_look(each) for each in found["rows"]]
    for widths, each in found.get("cascades", {}).items():
        names = " then ".join(widths.strip("()").split(", "))
        rows.append((names, "thresholds on the margin", "the last run's", *_figures(each)))
    return table(LOOKS, rows, left=3) if rows else ""


def _look(row: dict[str, Any]) -> tuple[str, ...]:
    answer = "the sum of all runs" if row["summed"] else "the last run's"
    return (" then ".join(map(str, row["widths"])), KNOWN[row["known"]], answer, *_figures(row))


def _figures(row: dict[str, Any]) -> tuple[str, ...]:
    return (spread([100 * share for share in row["share"]]), *(spread(row[key]) for key in ("runs", "own", "uniform")))


def _row(words: str, row: dict[str, Any]) -> tuple[str, ...]:
    shares = [100 * share for share in row["share"]]
    dealt = spread(row["dealt"]) if "dealt" in row else ""
    return (words, spread(shares), spread(row["runs"]), spread(row["own"]), dealt, spread(row["uniform"]))
