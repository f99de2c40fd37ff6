"""Networks all of whose layers read half of their ranges below 8 bits, at each width beside the same with whole ranges.

Calibration chooses a part of a range for some layers and widths (``ranges="per_width"``): this is about the most that
it costs.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from bench.common import Check
from bench.serving.common import Measured, Setting, noise, ratios, spread, turns
from dqt.program.ops.conv import Conv
from dqt.program.ops.linear import Linear
from dqt.program.program import Program
from dqt.runtime import Runtime

NETWORKS, KINDS, SLOWER = ("resnet18", "resnet50", "mobilenet_v2", "resnet20"), {"whole": 0, "half": 1}, 1.05
"""Networks; the exponents of their ranges; how much longer a run may take."""


def measure(setting: Setting) -> Measured:
    """Network and uniform width -> milliseconds of both, and their ratio."""
    results: dict[str, Any] = {}
    checks: list[Check] = []
    for name in NETWORKS:
        program, x = setting.program(name), noise(name)
        runs = {kind: Runtime(read(program, e), threads=1) for kind, e in KINDS.items()}
        results[name] = {}
        for b in sorted(program.space.widths, reverse=True):
            ms = turns({kind: partial(run, x, b) for kind, run in runs.items()}, setting.seconds)
            ratio = spread(ratios(ms["half"], ms["whole"]))
            results[name][str(b)] = {"ms": {kind: spread(ms[kind]) for kind in KINDS}, "ratio": ratio}
            what = f"{name} at {b} bits, time where every layer reads half of its ranges over that with whole ranges"
            checks.append(Check(what, ratio["median"], "<=", SLOWER))
            print(what, ratio, flush=True)
    return results, checks


def read(program: Program, e: int) -> Program:
    """The program with exponent ``e``, as far as it is legal, for the weights and the input of every layer."""
    exponents = tuple(min(e, program.space.master - b) for b in program.space.widths)

    def reading(op: Any) -> Any:
        if not isinstance(op, Conv | Linear):
            return op
        return replace(op, weight_exponents=exponents, input_exponents=exponents)

    return replace(program, ops=tuple(reading(op) for op in program.ops))
