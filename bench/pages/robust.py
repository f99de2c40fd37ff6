"""The tables of docs/results.md on corrupted images: from the record of ``bench.robust``."""

from __future__ import annotations

import json
from typing import Any

from bench.common import RESULTS
from bench.markdown import table

AT_BITS, BY = 3.0, "corrupted"
SHOWN = (8, 4, 3, 2)


def blocks() -> dict[str, str]:
    """The tables; "not yet run" without a record."""
    path = RESULTS / "robust.json"
    if not path.exists():
        return {"robust": "Not yet run.\n", "robust-budgets": ""}
    document = json.loads(path.read_text())
    results = document["results"]
    return {"robust": "\n".join(_network(*each) for each in results.items()), "robust-budgets": _budgets(document)}


def _network(name: str, result: dict[str, Any]) -> str:
    (cascade,) = (row for row in result["cascades"] if (row["bits"], row["calibrated"]) == (AT_BITS, BY))
    at = [result["widths"].index(b) for b in SHOWN]
    rows = []
    for label, found in result["sets"].items():
        there = cascade["sets"][label]
        uniform = [f"{found['top1'][i]:.2f}" for i in at]
        rows.append((label, *uniform, f"{found['oracle']:.2f}", *_cells(there)))
    widths = " then ".join(map(str, cascade["widths"]))
    head = ("corruption", *(f"{b} bits" for b in SHOWN), "oracle", f"cascade {widths}", *HEAD)
    return f"{name}:\n\n" + table(head, rows)


HEAD = ("its BitOPs, %", "uniform there", "gain")


def _cells(found: dict[str, float]) -> tuple[str, ...]:
    gain = found["top1"] - found["uniform"]
    return (*(f"{found[key]:.2f}" for key in ("top1", "share", "uniform")), f"{gain:+.2f}")


def _budgets(document: dict[str, Any]) -> str:
    rows = []
    for name, result in document["results"].items():
        for row in result["cascades"]:
            widths = " then ".join(map(str, row["widths"]))
            cells = _cells(row["sets"]["all corrupted"])
            rows.append((name, row["calibrated"], f"{row['bits']:g} bits: {row['budget']:.2f}", widths, *cells))
    head = ("network", "calibrated on", "budget, %", "widths", "top-1", *HEAD)
    targets = [
        (each["what"], f"at least {each['target']:g}", f"{each['value']:.2f}", "met" if each["met"] else "**missed**")
        for each in document["targets"]
    ]
    return table(head, rows, left=4) + "\n" + table(("what", "target", "found", ""), targets)
