"""The table of sizes in docs/guide/install.md."""

from __future__ import annotations

import json

from bench.common import RESULTS
from bench.markdown import table

SHOWN = 1_000_000
"""Packages of fewer bytes are one row."""


def blocks() -> dict[str, str]:
    """Name of each block of the page -> its content."""
    document = json.loads((RESULTS / "install.json").read_text())
    packages = sorted(document["results"]["packages"].items(), key=lambda pair: -pair[1]["bytes"])
    large = [(_named(name, row), _mb(row["bytes"])) for name, row in packages if row["bytes"] >= SHOWN]
    rest = sum(row["bytes"] for _, row in packages if row["bytes"] < SHOWN)
    total = sum(row["bytes"] for _, row in packages)
    rows = [*large, (f"{len(packages) - len(large)} smaller ones", _mb(rest)), ("**together**", f"**{_mb(total)}**")]
    where = f"Python {document['machine']['python']}, {document['machine']['system']}; bench/install"
    words = f"The wheel itself has {_mb(document['results']['wheel_bytes'])} MB ({where})."
    return {"install": f"{table(('package', 'MB'), rows)}\n{words}\n"}


def _named(name: str, row: dict[str, object]) -> str:
    return f"{name} {row['version']}" if "version" in row else name


def _mb(size: int) -> str:
    return f"{size / 1e6:.1f}"
