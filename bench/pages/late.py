"""The table of docs/results.md on what features inside a network know: from the record of ``bench.late``."""

from __future__ import annotations

import json
from typing import Any

from bench.common import RESULTS
from bench.markdown import table

WORDS = {
    "after layer1": "layer1 at 3 bits, then it chooses the rest's width, by features of layer1",
    "after layer2": "layer1 and layer2 at 3 bits, then layer3's width, by features of both",
    "again, by features": "all at 2 bits, then whether to run again and at what width, by features of both",
    "again, by outputs": "the same, by the sorted outputs",
    "again, by both": "the same, by features and outputs",
}
HEADERS = ("decision", "choices, bits", "top-1 of each", "BitOPs, %", "own choices", "dealt", "uniform there", "oracle")


def block() -> str:
    """The table; empty without a record."""
    path = RESULTS / "late.json"
    rows = json.loads(path.read_text())["results"] if path.exists() else {}
    return table(HEADERS, [_row(WORDS[name], row) for name, row in rows.items()], left=1) if rows else ""


def _row(words: str, row: dict[str, Any]) -> tuple[str, ...]:
    listed = (", ".join(map(str, row["choices"])), ", ".join(f"{value:.2f}" for value in row["top1"]))
    shares = [100 * share for share in row["share"]]
    return (words, *listed, *map(spread, (shares, row["own"], row["dealt"], row["uniform"])), f"{row['oracle']:.2f}")


def spread(values: list[float]) -> str:
    """Mean and range."""
    return f"{sum(values) / len(values):.2f} ({min(values):.2f} to {max(values):.2f})"
