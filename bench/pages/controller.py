"""The tables of docs/results.md on late controllers in integers: from ``bench.controller`` and its times."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.common import RESULTS, processor_name, records_of
from bench.controller_times import LESS, fastest
from bench.markdown import table
from bench.pages.late import spread

HEADERS = (
    "taught by",
    "asked for, %",
    "BitOPs, %",
    "runs",
    "top-1",
    "dealt",
    "uniform there",
    "cascade",
    "its BitOPs, %",
)
FIGURES = ("share", "runs", "own", "dealt", "uniform", "cascade", "cascade share")
TIMES = ("", "", "held-out", "top-1", "BitOPs, %", "time")
COSTS = """The controller of {name} has {parameters:,} parameters, {part:.2f} % of the network's weights, and
{bitops:.4f} % of its BitOPs. Some width is right about {oracle:.2f} % of the images.
"""
CHOSEN = """Of all that loses {less:g} points or less against 8 bits on the held-out images, {best} is fastest; on the
test images themselves, {tested}. The fastest controller among the former: {own}.
"""


def blocks() -> dict[str, str]:
    """Name of each block -> its content; "not yet run" without a record."""
    path = RESULTS / "controller.json"
    document = json.loads(path.read_text()) if path.exists() else {"results": {}, "targets": []}
    parts = [_network(name, each) for name, each in document["results"].items()]
    times = [_times(each) for name in ("controller_times", "controller_times_avx2") for each in records_of(name)]
    return {
        "controller": "\n".join(parts) + "\n" + _targets(document) if parts else "Not yet run.\n",
        "controller-times": "\n".join(times) if times else "Not yet run.\n",
    }


def _network(name: str, found: dict[str, Any]) -> str:
    rows = [
        (row["learned"], f"{row['bits']:g} bits: {row['budget']:.2f}", *(spread(row[key]) for key in FIGURES))
        for row in found["rows"]
    ]
    part = 100 * found["parameters"] / found["weights"]
    figures = {"parameters": found["parameters"], "part": part, "oracle": found["oracle"]}
    return (
        f"{name}:\n\n"
        + table(HEADERS, rows, left=2)
        + "\n"
        + COSTS.format(name=name, bitops=100 * found["bitops"], **figures)
    )


def _targets(document: dict[str, Any]) -> str:
    rows = [
        (
            each["what"],
            f"{each['relation']} {each['target']:g}",
            f"{each['value']:g}",
            "met" if each["met"] else "**missed**",
        )
        for each in document["targets"]
    ]
    return table(("what", "target", "found", ""), rows)


def _times(path: Path) -> str:
    document = json.loads(path.read_text())
    where, isa = document["machine"], document["settings"]["isa"]
    kernels = f", kernels of {isa} by name" if isa else ""
    parts = [f"{processor_name(where)}, {where['date']}{kernels}."]
    for name, rows in document["results"].items():
        body = [
            (row["kind"], row["label"], *(f"{row[key]:.2f}" for key in ("held_out", "top1", "share", "time")))
            for row in rows
        ]
        parts.append(f"{name}:\n\n" + table(TIMES, body, left=2) + "\n" + _chosen(rows))
    return "\n\n".join(parts) + "\n" + _targets(document)


def _chosen(rows: list[dict[str, Any]]) -> str:
    found = {"best": fastest(rows), "tested": fastest(rows, on="top1"), "own": fastest(rows, "controller")}
    return CHOSEN.format(less=LESS, **{key: _said(row) for key, row in found.items()})


def _said(row: dict[str, Any]) -> str:
    return f"{row['kind']} {row['label']} ({row['time']:.2f})" if row else "none"
