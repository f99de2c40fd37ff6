"""The table of what a training step costs, in docs/guide/fit.md."""

from __future__ import annotations

import json

from bench.common import RESULTS, timed_on
from bench.markdown import table

KINDS = ("8 bits", "4 bits", "sandwich of three", "with the controller")


def blocks() -> dict[str, str]:
    """Name of each block of the page -> its content."""
    document = json.loads((RESULTS / "training_speed.json").read_text())
    rows = []
    for label, found in document["results"]["speed"].items():
        times = (found["ratio_to_float"][kind]["median"] for kind in KINDS)
        rows.append((label, f"{1e3 * found['seconds']['float']['median']:.0f} ms", *(f"{each:.2f}" for each in times)))
    machine, batch = document["machine"], document["settings"]["batch"]
    where = timed_on(machine)
    said = f"CIFAR ResNet-20, batches of {batch} ({where}; bench/training_speed.py)."
    heads = ("training step, float = 1", "float step", *KINDS)
    return {"training_speed": table(heads, rows) + f"\n{said}\n"}
