"""The time of each width, beside its relative BitOPs."""

from __future__ import annotations

from functools import partial
from typing import Any

from bench.common import Check
from bench.serving.common import Measured, Setting, noise, ratios, spread, turns
from dqt.arith.cost import cost
from dqt.runtime import Runtime

NETWORKS = ("resnet18", "resnet50", "mobilenet_v2", "resnet20")


def measure(setting: Setting) -> Measured:
    """Network and uniform width -> milliseconds, times 8 bits', relative BitOPs."""
    results: dict[str, Any] = {}
    checks: list[Check] = []
    for name in NETWORKS:
        program, x = setting.program(name), noise(name)
        run, widths = Runtime(program, threads=1), sorted(program.space.widths, reverse=True)
        calls = {b: partial(run, x, b) for b in widths}
        ms = turns({str(b): call for b, call in calls.items()}, setting.seconds)
        results[name] = {
            b: {
                "ms": spread(ms[str(b)]),
                "of_8": spread(ratios(ms[str(b)], ms["8"])),
                "bitops": cost(program, b).share,
            }
            for b in calls
        }
        print(name, {b: each["ms"]["median"] for b, each in results[name].items()}, flush=True)
    return results, checks
