"""Measure the rows that are wanted, one record for each kind of processor."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import peers
from bench.common import machine, parser, place_of, write
from bench.peers import agreement, products, starts, times
from bench.peers.checks import checks
from bench.peers.networks import BATCHES, NETWORKS, WIDTHS, Place, files

RECORD = "peers"
PARTS = ("times", "agreement", "memory", "load", "products")
MEMORY, LOADED = ("resnet50", "vit_small"), ("resnet50",)
"""Networks of these parts."""


def main() -> None:
    """Row by row: measured if it is missing or wanted again, then written."""
    options = parser(peers.__doc__)
    options.formatter_class = argparse.RawDescriptionHelpFormatter
    options.add_argument("--folder", type=Path, required=True, help="where the networks are kept, and made if missing")
    options.add_argument("--data", type=Path, help="cifar-10-batches-bin and imagenet-samples; noise without")
    options.add_argument("--weights", type=Path, help="trained weights by file; random without")
    options.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    options.add_argument("--only", nargs="+", choices=("prepare", *PARTS), default=("prepare", *PARTS))
    options.add_argument("--again", nargs="*", choices=PARTS, default=[], help="measured anew")
    options.add_argument("--seconds", type=float, default=10.0, help="of a network at a batch, at least 5 rounds")
    options.add_argument("--rounds", type=int, help="so many instead")
    options.add_argument("--clock", choices=times.CLOCKS, default="processor")
    asked = options.parse_args()
    place = Place(asked.folder, asked.data, asked.weights)
    for name in asked.networks:
        files(name, place)
    rows = wanted(asked, place)
    for done, ((part, key), measure) in enumerate(rows.items(), 1):
        print(f"[{done} of {len(rows)}] {part} {key}", flush=True)
        load = round(os.getloadavg()[0], 1)
        found = measure() | {"load_average": load, "clock": asked.clock, "date": f"{datetime.now(UTC):%Y-%m-%d}"}
        keep(part, key, found)
    if rows:
        finish()


def wanted(asked: argparse.Namespace, place: Place) -> dict[tuple[str, str], Callable[[], dict[str, Any]]]:
    """Part and key of every row that is to be measured now -> what does it."""
    made: dict[tuple[str, str], Callable[[], dict[str, Any]]] = {}
    for name in asked.networks:
        kept = files(name, place)
        for batch in BATCHES:
            made["times", f"{name} {batch}"] = lambda kept=kept, batch=batch: times.measured(  # type: ignore[misc]
                kept, batch, asked.seconds, asked.clock, asked.rounds
            )
        made["agreement", name] = lambda kept=kept: agreement.measured(  # type: ignore[misc]
            kept, recorded()["times"][f"{kept.name} 1"]["forms"]
        )
        if name in MEMORY:
            made["memory", name] = lambda kept=kept: {"bytes": starts.memory(kept)}  # type: ignore[misc]
        if name in LOADED:
            made["load", name] = lambda kept=kept: starts.load(kept)  # type: ignore[misc]
    made["products", "one row"] = lambda: products.measured(asked.seconds, asked.clock, asked.rounds)
    have = recorded()
    return {
        (part, key): measure
        for (part, key), measure in made.items()
        if part in asked.only and (part in asked.again or key not in have[part])
    }


def recorded() -> dict[str, dict[str, Any]]:
    """The rows of this kind of processor, by part and key."""
    path = place_of(RECORD, machine())
    found: dict[str, dict[str, Any]] = json.loads(path.read_text())["results"] if path.exists() else {}
    return {part: found.get(part, {}) for part in PARTS}


def keep(part: str, key: str, row: dict[str, Any]) -> None:
    """One row more in the record; rows stand in the order of the networks."""
    found = recorded()
    found[part][key] = row
    order = {name: i for i, name in enumerate(NETWORKS)}
    found[part] = dict(sorted(found[part].items(), key=lambda each: order.get(each[0].split()[0], 0)))
    record(found, quiet=True)


def finish() -> None:
    """The record again, its targets printed."""
    record(recorded(), quiet=False)


def record(found: dict[str, dict[str, Any]], *, quiet: bool) -> None:
    """Every row, with the targets."""
    settings = {"threads": 1, "batches": BATCHES, "widths": WIDTHS, "versions": versions()}
    write(RECORD, settings=settings, results=found, checks=checks(found), quiet=quiet)


def versions() -> dict[str, str]:
    """Of the other engines."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for package in ("openvino", "onnxruntime", "ai-edge-litert", "timm", "transformers"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


if __name__ == "__main__":
    main()
