"""What the measurements of this package share: networks, and alternatives that run in turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from bench.common import Check
from bench.networks import SIDES, network
from dqt.program.program import Program
from dqt.runtime.bench import Spread

Measured: TypeAlias = tuple[dict[str, Any], list[Check]]
Call: TypeAlias = Callable[[], object]
Clock: TypeAlias = Callable[[], float]
LEAST_TURNS, CALLS = 5, 5


@dataclass(frozen=True)
class Setting:
    """Where the networks are kept, the float weights of ResNet-20 or None, and seconds for each comparison."""

    folder: Path
    weights: Path | None
    seconds: float

    def program(self, name: str) -> Program:
        """One of the networks that are timed."""
        return network(name, self.folder, self.weights)

    def path(self, name: str) -> Path:
        """Its file, which is there afterwards."""
        self.program(name)
        return self.folder / f"{name}.dqt"


def noise(name: str, batch: int = 1) -> npt.NDArray[np.float32]:
    """A batch for one of the networks."""
    shape = (batch, 3, SIDES[name], SIDES[name])
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def turns(calls: Mapping[str, Call], seconds: float, clock: Clock = time.thread_time) -> dict[str, list[float]]:
    """Label -> milliseconds, one median for each round; in a round each has a turn, with a first call left out."""
    found: dict[str, list[float]] = {label: [] for label in calls}
    end = time.perf_counter() + seconds
    while len(next(iter(found.values()))) < LEAST_TURNS or time.perf_counter() < end:
        for label, call in calls.items():
            call()
            found[label].append(float(np.median([timed(call, clock) for _ in range(CALLS)])))
    return found


def timed(call: Call, clock: Clock = time.thread_time) -> float:
    """Milliseconds of one call.

    By default those of this thread on the processor: what waits while something else has the core is not counted. On a
    quiet core the two are one; with several threads it must be ``time.perf_counter``.
    """
    start = clock()
    call()
    return 1e3 * (clock() - start)


def spread(values: list[float]) -> dict[str, Any]:
    """The spread of repeated measurements, for JSON."""
    return asdict(Spread.of(values))


def ratios(over: list[float], under: list[float]) -> list[float]:
    """Round by round."""
    return [a / b for a, b in zip(over, under, strict=True)]
