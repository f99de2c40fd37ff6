"""The table of docs/results.md on the demo's controller: from the record of ``bench.demo``."""

from __future__ import annotations

import json
from typing import Any

from bench.common import RESULTS
from bench.markdown import table

HEADERS = (
    "seed",
    "BitOPs, %",
    "auto",
    "uniform there",
    "dealt",
    "cascade",
    "its BitOPs, %",
    "2 bits",
    "3 bits",
    "8 bits",
)
FIGURES = ("share", "auto", "uniform there", "dealt", "cascade", "cascade share")
NOTE = """"auto" is below uniform widths at its BitOPs on {below} of {count} seeds. One image of {samples} is
{image:.2f} points. A demo takes {seconds:.0f} seconds of a core of the processor in the record.
"""


def block() -> str:
    """The table and a sentence; empty without a record."""
    path = RESULTS / "demo.json"
    if not path.exists():
        return ""
    rows = json.loads(path.read_text())["results"]["rows"]
    below = sum(row["auto"] < row["uniform there"] for row in rows)
    seconds = sum(row["processor seconds"] for row in rows) / len(rows)
    samples = rows[0]["samples"]
    words = {"below": below or "none", "count": len(rows), "samples": samples, "image": 100 / samples}
    return table(HEADERS, [_row(row) for row in rows]) + "\n" + NOTE.format(**words, seconds=seconds)


def _row(row: dict[str, Any]) -> tuple[str, ...]:
    figures = ("" if row[key] is None else f"{row[key]:.2f}" for key in FIGURES)
    return (str(row["seed"]), *figures, *(f"{row['uniform'][b]:.2f}" for b in ("2", "3", "8")))
