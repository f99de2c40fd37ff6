"""Time of one network at one batch: this engine at every width and the others, in turns."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Mapping
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from bench.peers import engines
from bench.peers.engines import EXACT, LITERT, MODULES, ONNXRUNTIME, OPENVINO, Run
from bench.peers.networks import WIDTHS, Files
from bench.serving.common import Call, ratios, spread, timed
from dqt.program.program import Program
from dqt.runtime import Runtime
from dqt.runtime.bench import pinned

CLOCKS: dict[str, Callable[[], float]] = {"processor": time.process_time, "wall": time.perf_counter}
"""The first, of all threads of this process, leaves out what others do on the core."""
TURN, CALLS, LEAST = 0.25, 5, 5
"""Seconds that a turn lasts about, after a first call that is not timed; calls of it at most; rounds at least."""


def measured(kept: Files, batch: int, seconds: float, clock: str, rounds: int | None = None) -> dict[str, Any]:
    """Milliseconds by contestant; over 8 bits', and of a width over the next wider one's, round by round."""
    x = np.resize(kept.inputs(batch), (batch, *kept.inputs(1).shape[1:]))
    program = Program.load(kept.program)
    run = Runtime(program, threads=1)
    with pinned(1):
        calls: dict[str, Call] = {str(b): partial(run, x, b) for b in WIDTHS}
        others, forms = fastest(kept, batch, x, CLOCKS[clock])
        calls |= {name: partial(each, x) for name, each in others.items()}
        ms = turns(calls, seconds, CLOCKS[clock], rounds)
    return {
        "isa": run.isa,
        "weights": program.info["weights"],
        "forms": forms,
        "ms": {name: spread(values) for name, values in ms.items()},
        "of_8": {name: spread(ratios(values, ms["8"])) for name, values in ms.items()},
        "of_wider": {str(b): spread(ratios(ms[str(b)], ms[str(a)])) for a, b in pairwise(WIDTHS)},
    }


def contestants(kept: Files, batch: int) -> dict[tuple[str, str], Callable[[], Run]]:
    """Engine and form -> what binds it; of the installed engines alone."""
    found: dict[tuple[str, str], Callable[[], Run]] = {}
    if kept.tflite(batch).exists():
        found[LITERT, "program"] = partial(engines.litert, kept.tflite(batch), batch)
    for form in kept.forms:
        path = kept.onnx(form)
        found[OPENVINO, form] = partial(engines.openvino, path, batch)
        found[ONNXRUNTIME, form] = partial(engines.onnxruntime, path, batch)
        found[EXACT, form] = partial(engines.onnxruntime, path, batch, exact=True)
    return {each: bind for each, bind in found.items() if importlib.util.find_spec(MODULES[each[0]])}


def fastest(kept: Files, batch: int, x: Any, clock: Callable[[], float]) -> tuple[dict[str, Run], dict[str, str]]:
    """Each engine with the form at which it is fastest, by a few calls; and the names of these forms."""
    best: dict[str, tuple[float, str, Run]] = {}
    for (engine, form), bind in contestants(kept, batch).items():
        try:
            run = bind()
            run(x)
        except Exception as error:  # each engine has errors of its own
            print(f"{engine} refuses {kept.name}, form {form}: {str(error).splitlines()[0][:100]}", flush=True)
            continue
        took = min(timed(partial(run, x), clock) for _ in range(1 if len(kept.forms) == 1 else 3))
        if engine not in best or took < best[engine][0]:
            best[engine] = took, form, run
    return {name: run for name, (_, _, run) in best.items()}, {name: form for name, (_, form, _) in best.items()}


def turns(
    calls: Mapping[str, Call], seconds: float, clock: Callable[[], float], rounds: int | None = None
) -> dict[str, list[float]]:
    """Label -> milliseconds, the median of a turn for each round. ``rounds``: so many, whatever they last."""
    found: dict[str, list[float]] = {label: [] for label in calls}
    counts = {label: min(CALLS, max(1, round(1e3 * TURN / _once(call)))) for label, call in calls.items()}
    end, done = time.perf_counter() + seconds, 0
    while done < rounds if rounds else (done < LEAST or time.perf_counter() < end):
        done += 1
        for label, call in calls.items():
            call()
            found[label].append(float(np.median([timed(call, clock) for _ in range(counts[label])])))
    return found


def _once(call: Call) -> float:
    call()
    return timed(call, time.perf_counter)
