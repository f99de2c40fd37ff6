"""Resident memory: what loading a file adds to a fresh process, and that running a program does not add to it."""

from __future__ import annotations

import gc
import itertools
import json
import re
import sys
from pathlib import Path
from typing import Any

import dqt
from bench.common import Check, child
from bench.networks import SIDES
from bench.serving.common import Measured, Setting, noise
from dqt.runtime import Runtime

RUNS, BLOCKS = 10_000, 4
TIMES, GROWTH = 1.3, 64 << 10
LEAST = 1 << 20
"""Smaller files fit what a process has free anyway, so that their growth says nothing."""


def measure(setting: Setting) -> Measured:
    """Bytes by network, each in a process of its own."""
    results: dict[str, Any] = {}
    checks = []
    for name in SIDES:
        path = setting.path(name)
        found = child("bench.serving.memory", "load", name, str(path))
        results[name] = found
        print(name, found, flush=True)
        if found["file"] < LEAST:
            continue
        over = (found["loaded"] - found["arena"]) / found["file"]
        what = f"{name}, resident growth by loading and a first run, less the arena, over the file"
        checks.append(Check(what, round(over, 4), "<=", TIMES))
    grown = child("bench.serving.memory", "run", "resnet20", str(setting.path("resnet20")))
    results["runs"] = grown
    what = f"resnet20, resident bytes grown by {RUNS:,} runs, after the first {RUNS:,}"
    checks.append(Check(what, max(grown["grown"][1:]), "<=", GROWTH))
    return results, checks


def resident() -> int:
    """Bytes of this process in memory, as the kernel sums them up."""
    gc.collect()
    found = re.search(r"^Rss: +(\d+) kB", Path("/proc/self/smaps_rollup").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) << 10


def load(name: str, path: str) -> dict[str, Any]:
    """In a process where everything is imported and has run once, on the network that ships with the package."""
    small = Runtime(dqt.example(), threads=1)
    for b in (8, 4, 2):
        small(noise("resnet20"), b)
    del small
    x = noise(name)
    before = resident()
    run = Runtime(path, threads=1)
    packed = resident() - before
    for b in (8, 4, 2):
        run(x, b)
    return {
        "file": Path(path).stat().st_size,
        "arena": run.arena_bytes(len(x)),
        "weights": run.weight_bytes,
        "packed": packed,
        "loaded": resident() - before,
    }


def many(name: str, path: str) -> dict[str, Any]:
    """Runs of one input, at three widths in turn: what each of several blocks of runs adds."""
    run, x = Runtime(path, threads=1), noise(name)
    sizes = [resident()]
    for _ in range(BLOCKS):
        for i in range(RUNS):
            run(x, (8, 4, 2)[i % 3])
        sizes.append(resident())
    return {"runs": RUNS, "before": sizes[0], "grown": [b - a for a, b in itertools.pairwise(sizes)]}


if __name__ == "__main__":
    print(json.dumps({"load": load, "run": many}[sys.argv[1]](*sys.argv[2:])))
