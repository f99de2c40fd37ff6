"""The table of docs/results.md on gates of lower slices: from the record of ``bench.gate``."""

from __future__ import annotations

import json
from typing import Any

from bench.common import RESULTS
from bench.markdown import table
from bench.pages.late import spread

HEADERS = ("widths", "bits", "8 bits alone", "these alone", "rest read, %", "bound", "exact", "dealt", "oracle")


def block() -> str:
    """The table; "not yet run" without a record."""
    path = RESULTS / "gate.json"
    if not path.exists():
        return "Not yet run.\n"
    return table(HEADERS, [_row(each) for each in json.loads(path.read_text())["results"]["rows"]], left=1)


def _row(row: dict[str, Any]) -> tuple[str, ...]:
    figures = (row["full"], row["low"], 100 * row["bound, read"], row["bound"], row["exact"])
    numbers = (f"{value:.2f}" for value in figures)
    return (row["network"], str(row["bits"]), *numbers, spread(row["bound, dealt"]), f"{row['oracle']:.2f}")
