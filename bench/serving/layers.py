"""Time by kind of layer and kernel, which explains the latencies of whole networks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bench.common import Check
from bench.serving.common import Measured, Setting
from dqt.program.ops.conv import Conv
from dqt.program.ops.linear import Linear
from dqt.program.program import Program
from dqt.runtime.layers import LayerTime, by_layer

NETWORKS, WIDTHS = ("resnet18", "resnet50", "mobilenet_v2", "resnet20"), (8, 4, 2)


def measure(setting: Setting) -> Measured:
    """Network and width -> kind of layer and its kernel -> share of the run, and of the peak."""
    results: dict[str, Any] = {}
    checks: list[Check] = []
    for name in NETWORKS:
        program = setting.program(name)
        kinds = _kinds(program)
        found = by_layer(program, plans={str(b): b for b in WIDTHS}, seconds=setting.seconds)
        for each in found.profiles:
            groups: dict[str, list[LayerTime]] = {}
            for row in each.layers:
                kind = f"{kinds[row.name]}, {row.kernel}" if row.kernel else "not a layer"
                groups.setdefault(kind, []).append(row)
            entry = {kind: _sums(rows, found.peak) for kind, rows in groups.items()}
            results[f"{name} at {each.bits}"] = {"peak": found.peak, "runs": each.runs, "kinds": entry}
            print(f"{name} at {each.bits}", entry, flush=True)
    return results, checks


def _kinds(program: Program) -> dict[str, str]:
    """Layer -> what kind it is."""
    return {op.layer: _kind(op) for op in program.ops if isinstance(op, Conv | Linear)}


def _kind(op: Conv | Linear) -> str:
    if isinstance(op, Linear):
        return "linear"
    if op.weight.shape[1] <= 4 and op.groups == 1:
        return "first"
    size = "x".join(map(str, op.weight.shape[2:]))
    return size if op.stride == (1, 1) else f"{size} stride {op.stride[0]}"


def _sums(rows: Iterable[LayerTime], peak: float) -> dict[str, Any]:
    rows = list(rows)
    macs, ms = sum(row.macs for row in rows), sum(row.ms for row in rows)
    return {
        "ms": round(ms, 4),
        "of_run": round(sum(row.of_run for row in rows), 4),
        "of_peak": round(macs / ms / 1e6 / peak, 4) if macs else None,
    }
