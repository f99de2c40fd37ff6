"""ResNet-50 in both forms: seconds to export, bytes by width, and time in ONNX Runtime, in turns on one core."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from bench.networks import network
from bench.onnx.engines import session
from bench.onnx.profile import by_operator, products, roundings
from bench.onnx.single import layers
from dqt.export.file import integer_model
from dqt.export.products import answered
from dqt.export.qdq.model import qdq_model
from dqt.program.program import Program
from dqt.runtime import Runtime
from dqt.runtime.bench import Spread, noise, pinned

NAME = "resnet50"
WIDTHS = (8, 4, 2)
SAMPLES = 16
"""Inputs on which the QDQ form is compared."""


def resnet50(folder: Path, rounds: int) -> dict[str, Any]:
    """What is measured of it; ``folder`` keeps the program."""
    program = network(NAME, folder)
    models, made = {}, {}
    for width in WIDTHS:
        start = time.process_time()
        models[width] = integer_model(program, width)
        made[str(width)] = {"export_s": round(time.process_time() - start, 3), "bytes": len(models[width])}
    reals = qdq_model(program)
    found = {"integer": made, "qdq_bytes": len(reals), **timed(program, models[8], reals, rounds)}
    return {**found, "profile": profile(program, models[8], reals)}


def profile(program: Program, integers: bytes, reals: bytes) -> dict[str, Any]:
    """Where the time goes, on one thread."""
    x = noise(program, 1)
    with pinned(1):
        operators = {key: by_operator(model, x) for key, model in (("integer", integers), ("qdq", reals))}
        return {"operators": operators, "products": products(), "roundings": roundings(), "float32": layers(program)}


def timed(program: Program, integers: bytes, reals: bytes, rounds: int) -> dict[str, Any]:
    """Milliseconds of processor time of one image, by form; the ratio of each round; agreement of the QDQ form.

    "integer, uint8": the integer form as it runs on processors whose fast products saturate.
    """
    x = noise(program, SAMPLES)
    name = program.inputs[0].name
    with pinned(1):
        runs = {
            "integer": session(integers),
            "integer, uint8": session(answered(integers, False)),
            "qdq": session(reals),
            "qdq, precise": session(reals, precise=True),
        }
        answers = {key: np.concatenate([run.run(None, {name: x[name][i : i + 1]})[0] for i in range(SAMPLES)])
                   for key, run in runs.items()}  # fmt: skip
        ours = Runtime(program, threads=1)(x[name])
        for key in ("integer", "integer, uint8"):
            assert np.array_equal(answers[key], ours), f"{key}: the form differs from the engine"
        times: dict[str, list[float]] = {key: [] for key in runs}
        for _ in range(rounds):
            for key, run in runs.items():
                start = time.process_time()
                run.run(None, {name: x[name][:1]})
                times[key].append(1e3 * (time.process_time() - start))
    over = {
        key: [a / b for a, b in zip(times["integer"], times[key], strict=True)] for key in times if key != "integer"
    }
    return {
        "ms": {key: vars(Spread.of(found)) for key, found in times.items()},
        "integer_over": {key: vars(Spread.of(found)) for key, found in over.items()},
        "agreement": {key: agreement(ours, answers[key]) for key in ("qdq", "qdq, precise")},
    }


def agreement(ours: Any, theirs: Any) -> dict[str, float]:
    """The share of equal top-1, and mean |difference| over our deviation."""
    top1 = float((ours.argmax(1) == theirs.argmax(1)).mean())
    return {"top1": top1, "difference": round(float(np.abs(ours - theirs).mean() / ours.std()), 4)}
