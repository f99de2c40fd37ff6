"""How often an engine's answer is the exact one of the model that it runs, and how often products saturate.

The exact answer of an ONNX model in QDQ form is that of its float operators as they are written: ONNX Runtime without
any optimization, in float32, where no product of codes is rounded or saturates. That of a model with integer operators
is that of ONNX Runtime with ``session.x64quantprecision``. The exact answer of a program is that of ``dqt.interpret``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

import dqt
from bench.peers import engines
from bench.peers.engines import EXACT, ONNXRUNTIME, Run
from bench.peers.networks import Files
from bench.peers.saturation import saturating
from bench.peers.times import contestants
from dqt.program.program import Program
from dqt.runtime import Runtime

INTERPRETED = 4
"""Samples of which the program's integers are compared with the interpreter's."""
Answers = npt.NDArray[np.int64]


def measured(kept: Files, forms: dict[str, str]) -> dict[str, Any]:
    """By engine, of the form that is timed: the share of equal answers, and mean |difference| over deviation."""
    x = np.load(kept.samples)
    program = Program.load(kept.program)
    vector = program.info["vector"] == "True"
    run = Runtime(program, threads=1)
    own = outputs(lambda some: np.asarray(run(some, 8)), x)
    whole = bool(np.array_equal(dqt.interpret(program, x[:INTERPRETED], 8), own[:INTERPRETED]))
    found: dict[str, Any] = {"weights": program.info["weights"], "samples": len(x), "own_integers": kept.own}
    found["dqt equals the interpreter"] = whole
    exact: dict[str, npt.NDArray[Any]] = {}
    for (engine, form), bind in bound(kept).items():
        if forms.get(engine) != form:
            continue
        if form not in exact:
            exact[form] = outputs(reference(kept, form), x)
            if form == "program":
                found["dqt"] = compared(exact[form], own, vector)
        found[engine] = compared(exact[form], outputs(bind(), x), vector)
    return found | {"saturating": saturating(program, x[:2])}


def bound(kept: Files) -> dict[tuple[str, str], Callable[[], Run]]:
    """As in :func:`contestants`, one sample a call, without merging quantizers."""
    found = contestants(kept, 1)
    for engine, form in found:
        if engine in (ONNXRUNTIME, EXACT):
            path, exact = kept.onnx(form), engine == EXACT
            found[engine, form] = partial(engines.onnxruntime, path, 1, exact=exact, merges=False)
    return found


def reference(kept: Files, form: str) -> Run:
    """What gives the exact answers of a form."""
    if form == "dynamic":
        return engines.onnxruntime(kept.onnx(form), 1, exact=True)
    return engines.onnxruntime(kept.onnx(form), 1, plain=True)


def outputs(run: Run, x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Outputs ``[N, numbers]``, sample by sample."""
    parts = (np.ascontiguousarray(x[i : i + 1]) for i in range(len(x)))
    return np.concatenate([np.array(run(part)).reshape(1, -1) for part in parts])


def compared(exact: npt.NDArray[Any], found: npt.NDArray[Any], vector: bool) -> dict[str, float]:
    """The share of equal answers, and the mean difference over the exact outputs' deviation."""
    answers = nearest if vector else top1
    deviation = max(float(exact.std()), 1e-12)
    return {
        "same": round(float((answers(exact) == answers(found)).mean()), 4),
        "difference": float(f"{np.abs(exact - found).mean() / deviation:.3g}"),
    }


def top1(y: npt.NDArray[Any]) -> Answers:
    """The largest output."""
    return y.argmax(1)


def nearest(y: npt.NDArray[Any]) -> Answers:
    """The sample whose direction is closest, other than itself."""
    directions = y / np.linalg.norm(y, axis=1, keepdims=True)
    cosines = directions @ directions.T
    np.fill_diagonal(cosines, -2)
    return cosines.argmax(1)
