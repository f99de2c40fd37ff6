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
HEADERS = ("decision by", "BitOPs, %", "runs of an image", "top-1", "dealt", "uniform there")


def blocks() -> dict[str, str]:
    """The table, and a sentence on what the widths know between them; empty without a record."""
    paths = records_of("again")
    if not paths:
        return {"again": "", "together": ""}
    found = json.loads(paths[-1].read_text())["results"]
    rows = [_row(WORDS[name], row) for name, row in found["heads"].items()]
    rows += [_row(f"cascade {name}", row) for name, row in found["cascades"].items()]
    both = found["together"]
    said = (
        f"Some width is right about {both['oracle']:.2f} % of the images. The summed outputs of these five widths are "
        f"right about {both['summed']:.2f} %, and 8 bits alone about {found['top1']['8']:.2f} %."
    )
    return {"again": table(HEADERS, rows, left=1), "together": said}


def _row(words: str, row: dict[str, Any]) -> tuple[str, ...]:
    shares = [100 * share for share in row["share"]]
    dealt = spread(row["dealt"]) if "dealt" in row else ""
    return (words, spread(shares), spread(row["runs"]), spread(row["own"]), dealt, spread(row["uniform"]))
