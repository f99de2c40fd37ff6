"""The tables of docs/results.md on late controllers in integers: from ``bench.controller`` and its times."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.common import RESULTS, processor_name, records_of
from bench.controller_times import AT, LESS, PART, beside_cascade, fastest
from bench.markdown import table
from bench.pages import demo, joint, knows
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
TIMED = ("controller_times", "controller_times_batch1", "controller_times_avx2")
"""Records of the times, in the order of the page."""
CHOSEN = """Of all that loses {less:g} points or less against 8 bits on the held-out images, {best} is fastest; on the
test images themselves, {tested}. The fastest controller among the former: {own}. In {part:g} of the time of the cascade
for {at:g} % of the BitOPs, the controller that is best on the held-out images ({beside}) is {over:+.2f} points from
that cascade on the test images.
"""


def blocks() -> dict[str, str]:
    """Name of each block -> its content; "not yet run" without a record."""
    path = RESULTS / "controller.json"
    document = json.loads(path.read_text()) if path.exists() else {"results": {}, "targets": []}
    parts = [_network(name, each) for name, each in document["results"].items()]
    times = [_times(each) for name in TIMED for each in records_of(name)]
    return {
        "controller": "\n".join(parts) + "\n" + _targets(document) if parts else "Not yet run.\n",
        "controller-times": "\n".join(times) if times else "Not yet run.\n",
        "knows": knows.block(),
        "joint": joint.block(),
        "demo": demo.block(),
    }


def timed() -> dict[str, list[dict[str, Any]]]:
    """The rows of each network in the first record of the times; none without a record."""
    path = RESULTS / f"{TIMED[0]}.json"
    found: dict[str, list[dict[str, Any]]] = json.loads(path.read_text())["results"] if path.exists() else {}
    return found


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
    batch = document["settings"]["batch"]
    images = "image by image" if batch == 1 else f"batches of {batch}"
    parts = [f"{processor_name(where)}, {where['date']}{kernels}, {images}."]
    for name, rows in document["results"].items():
        body = [
            (row["kind"], row["label"], *(f"{row[key]:.2f}" for key in ("held_out", "top1", "share", "time")))
            for row in rows
        ]
        parts.append(f"{name}:\n\n" + table(TIMES, body, left=2) + "\n" + _chosen(rows))
    return "\n\n".join(parts) + "\n" + _targets(document)


def _chosen(rows: list[dict[str, Any]]) -> str:
    cascade, beside = beside_cascade(rows, AT)
    found = {"best": fastest(rows), "tested": fastest(rows, on="top1"), "own": fastest(rows, "controller")}
    words = {key: _said(row) for key, row in (found | {"beside": beside}).items()}
    over = beside.get("top1", 0.0) - cascade["top1"]
    return CHOSEN.format(less=LESS, part=PART, at=100 * AT, over=over, **words)


def _said(row: dict[str, Any]) -> str:
    return f"{row['kind']} {row['label']} ({row['time']:.2f})" if row else "none"
