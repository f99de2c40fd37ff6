"""Where the time of a run goes, instruction by instruction, beside what the kernels can do."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from dqt.arith.plan import PlanLike
from dqt.program.listing import rows
from dqt.program.program import Program, ProgramLike, as_program
from dqt.runtime.bench import Floats, noise_or, pinned
from dqt.runtime.runtime import Runtime

LEAST_RUNS = 5


@dataclass(frozen=True)
class LayerTime:
    """One instruction that took time; what a fused one takes is with the layer that does its work.

    Attributes:
        op: the operator's name.
        name: the layer's name, or that of the value it defines.
        kernel: that of :meth:`Runtime.kernels`; "" where the instruction is no layer.
        macs: multiply-accumulates of the batch; of a Winograd kernel those that it stands for; 0 of what is no layer.
        ms: median of its runs.
        of_run: share of the sum of all medians.
        of_peak: MACs a second over the peak of the report; ``None`` of what is no layer.
    """

    op: str
    name: str
    kernel: str
    macs: int
    ms: float
    of_run: float
    of_peak: float | None


@dataclass(frozen=True)
class Profile:
    """One plan at one batch: every instruction that ran, in order."""

    bits: str
    batch: int
    runs: int
    layers: tuple[LayerTime, ...]


@dataclass(frozen=True)
class Profiles:
    """What was measured, and on what.

    Attributes:
        peak: GMAC/s of the block kernel where operands stay in the cache, just before, times ``threads``.
    """

    isa: str
    threads: int
    cores: tuple[int, ...]
    peak: float
    profiles: tuple[Profile, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def by_layer(
    program: ProgramLike,
    *,
    plans: Mapping[str, PlanLike],
    batches: tuple[int, ...] = (1,),
    threads: int = 1,
    seconds: float = 1.0,
    isa: str | None = None,
    inputs: Floats | None = None,
) -> Profiles:
    """Time every instruction under every plan at every batch; arguments and errors as of :func:`dqt.runtime.bench`."""
    program = as_program(program)
    with pinned(threads) as cores:
        run = Runtime(program, threads=threads, isa=isa)
        peak = run.peak() * run.threads
        made = tuple(
            _profile(program, run, label, plan, noise_or(program, inputs, batch), seconds, peak)
            for batch in batches
            for label, plan in plans.items()
        )
    return Profiles(run.isa, run.threads, cores, round(peak / 1e9, 1), made)


def _profile(
    program: Program, run: Runtime, label: str, plan: PlanLike, x: Floats, seconds: float, peak: float
) -> Profile:
    kernels = run.kernels(x, plan)
    found: list[list[float]] = []
    end = time.perf_counter() + seconds
    while len(found) < LEAST_RUNS or time.perf_counter() < end:
        found.append(run.profile(x, plan))
    medians = np.median(found, axis=0)
    layers = []
    for row, kernel, took in zip(rows(program), kernels, medians, strict=True):
        if took <= 0:
            continue
        macs = (row.macs or 0) * len(x)
        of_peak = round(macs / took / peak, 3) if row.macs else None
        layers.append(
            LayerTime(row.op, row.name, kernel, macs, _rounded(1e3 * took), _rounded(took / medians.sum()), of_peak)
        )
    return Profile(label, len(x), len(found), tuple(layers))


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
