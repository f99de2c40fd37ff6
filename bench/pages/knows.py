"""The tables of docs/results.md on what tells who gains by more bits: from the record of ``bench.knows``."""

from __future__ import annotations

import json
from typing import Any

from bench.common import RESULTS
from bench.markdown import table
from bench.pages.late import spread


def block() -> str:
    """A table for each network; empty without a record."""
    path = RESULTS / "knows.json"
    found = json.loads(path.read_text())["results"] if path.exists() else {}
    return "\n".join(f"{name}:\n\n{_network(each)}" for name, each in found.items())


def _network(found: dict[str, Any]) -> str:
    widths = list(found["gain"])
    rows = [("images that gain, %", *(f"{found['gain'][b]:.2f}" for b in widths))]
    rows += [(name, *(spread(row[b]) for b in widths)) for name, row in found["rows"].items()]
    return table(("read", *(f"2 wrong, {b} bits right" for b in widths)), rows)
