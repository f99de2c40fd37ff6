"""The table of time and memory in docs/guide/post-training.md."""

from __future__ import annotations

import json
from typing import Any

from bench.common import records_of, timed_on
from bench.markdown import table
from bench.pages.untrained import targets

NETWORKS = {"resnet50": "ResNet-50", "vit_b_16": "ViT-B/16"}
STAGES = ("prepare", "calibrate", "lower")


def blocks() -> dict[str, str]:
    """Name of each block of the page -> its content."""
    return {"calibration": "\n".join(of(json.loads(path.read_text())) for path in records_of("calibration"))}


def of(document: dict[str, Any]) -> str:
    """What one record has, and its targets."""
    results, settings, machine = document["results"], document["settings"], document["machine"]
    lines = [_line(name, part, row[part]) for name, row in results.items() for part in ("fast", "best") if part in row]
    heads = ("network", "method", *(f"{stage}, s" for stage in STAGES), "clips of 10⁶ weights, s")
    where = (
        f"Seconds of one core ({timed_on(machine)}), random weights, {settings['images']} "
        f"images of {settings['side']} by {settings['side']} in batches of {settings['batch']}. "
        f"Memory is the peak of a process, with one batch of {settings['at_once']}."
    )
    times = f"{table(heads, lines)}\n" if lines else ""
    return f"{times}{where}\n\n{targets(document['targets'])}"


def _line(name: str, method: str, found: dict[str, float]) -> tuple[str, ...]:
    stages = (f"{found[stage]:.1f}" for stage in STAGES)
    return (NETWORKS[name], method, *stages, f"{found['clips'] / found['millions']:.2f}")
