"""How long one sample takes under each plan, on a test set's own samples: "auto" and cascades depend on them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from dqt.arith.plan import PlanLike
from dqt.program.inputs import as_inputs, plain, rows
from dqt.program.program import ProgramLike, as_program
from dqt.runtime.bench import Spread, pinned
from dqt.runtime.runtime import Runtime

ROUNDS, SAMPLES = 9, 16


def timed(
    program: ProgramLike,
    plans: Mapping[str, PlanLike],
    inputs: Any,
    *,
    samples: int = SAMPLES,
    advance: Callable[[int], object] = lambda _: None,
) -> tuple[dict[str, Spread], str]:
    """Milliseconds of one sample under each plan, and how they were measured, in words.

    One thread takes ``samples`` of ``inputs``, spread evenly, one a call. The plans take turns: in each round each plan
    runs every sample. The spread is that of the rounds' means; calls before the first round are not counted.

    Args:
        plans: label -> plan.   inputs: as :func:`dqt.interpret` takes them.
        advance: called after each turn; there are ``ROUNDS`` for each plan.

    Raises:
        InputError, PlanError: as :func:`dqt.interpret`.   RuntimeUnavailableError: the engine was not built.
    """
    program = as_program(program)
    x = as_inputs(inputs, program)
    count = len(next(iter(x.values())))
    some = np.unique(np.linspace(0, count - 1, min(samples, count)).round().astype(np.int64))
    calls = [plain(rows(x, slice(i, i + 1))) for i in some.tolist()]
    found: dict[str, list[float]] = {label: [] for label in plans}
    with pinned(1):
        run = Runtime(program, threads=1)
        for turn in range(ROUNDS):
            for label, plan in plans.items():
                if turn == 0:
                    _milliseconds(run, calls, plan)
                found[label].append(_milliseconds(run, calls, plan))
                advance(1)
    return {label: Spread.of(each) for label, each in found.items()}, f"{run.isa}, one thread, one sample a call"


def _milliseconds(run: Runtime, calls: list[Any], plan: PlanLike) -> float:
    """The mean over the calls."""
    start = time.perf_counter()
    for x in calls:
        run(x, plan)
    return 1e3 * (time.perf_counter() - start) / len(calls)
