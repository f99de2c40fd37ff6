"""Which kernel a convolution takes: the choice by the cost model beside measurements, shape by shape.

A program has three convolutions of one shape, 3x3 or 1x1, and the third is timed, so that its input is where the layer
before it leaves it. All kernels that are exact for the shape at a pair of widths run in turns, forced by name. What
each of them does by counts, and what the counts cost by the model, the engine itself says (``Runtime.estimates``;
csrc/cpu/choice.cc). The costs (csrc/cpu/simd) minimize the squared relative errors here; ``--fit`` prints them. The
script needs a quiet core: ``taskset -c N`` chooses it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls

from bench.common import Check, parser, write
from dqt.arith.plan import Plan
from dqt.program.ops.conv import Conv
from dqt.program.program import Program
from dqt.runtime import Runtime
from dqt.runtime.native import kernel_names, kernel_sets
from dqt.testing import Builder

SIDES = (3, 1)
"""Of the kernel."""
CHANNELS = (
    (16, 16),
    (32, 32),
    (16, 64),
    (32, 64),
    (64, 64),
    (64, 256),
    (96, 128),
    (128, 128),
    (256, 64),
    (256, 256),
    (512, 512),
)
"""Inputs and outputs. AVX-512 has one kernel alone where these are no multiples of 64: it leaves such shapes out."""
SIZES = (2, 4, 7, 8, 10, 14, 16, 28, 56)
BATCHES = (1, 8)
LEAST_MACS, MOST_MACS = 3e5, 1e9
PAIRS = ((8, 8), (4, 4), (3, 3), (2, 2), (2, 3), (3, 2))
"""Bits of weights and of activations."""
BLOCK, QUARTILE = "block", 25
"""The kernel that every layer has; of the rounds the percentile that counts, which interruptions do not reach."""
DEVIATION = 32
"""Of 8-bit weights."""
KEPT = 0.93
LOST, WORST = 0.02, 0.15
"""Targets: time that the model's choices lose on average, and at most on one shape."""


def main() -> None:
    """Measure, print, write."""
    options = parser(__doc__)
    options.add_argument("--rounds", type=int, default=15)
    options.add_argument("--isa", choices=kernel_sets(), default=kernel_sets()[0])
    options.add_argument("--every", type=int, default=1, help="of so many shapes only the first")
    options.add_argument("--fit", action="store_true", help="print the constants that fit these measurements best")
    arguments = options.parse_args()
    chosen = shapes()[:: arguments.every]
    results = []
    for i, shape in enumerate(chosen, 1):
        print(f"[{i} of {len(chosen)}] ", end="")
        result = measured(*shape, arguments.isa, arguments.rounds)
        results += [result] if result["taken"] else []
    if arguments.fit:
        fit(results)
    for each in results:
        del each["counts"]
    settings = {"threads": 1, "isa": arguments.isa, "rounds": arguments.rounds, "layer": "3x3 or 1x1, stride 1"}
    name = "kernels" if arguments.isa == "avx512vnni" else f"kernels_{arguments.isa}"
    write(name, settings=settings, results={"shapes": results}, checks=checks(results))


def shapes() -> list[tuple[int, int, int, int, int]]:
    """Side of the kernel, inputs, outputs, height and width, batch."""
    every = [(k, i, o, size, batch) for k in SIDES for i, o in CHANNELS for size in SIZES for batch in BATCHES]
    return [(k, i, o, size, n) for k, i, o, size, n in every if LEAST_MACS <= (k * size) ** 2 * i * o * n <= MOST_MACS]


def chain(side: int, inputs: int, outputs: int, size: int) -> Program:
    """Convolutions ``inputs -> outputs -> inputs -> outputs``, requantized as a lowered network's are."""
    b = Builder(1, (inputs, size, size), widths=(2, 3, 4, 8))
    border = (side // 2,) * 4
    value = "v0"
    for count in (outputs, inputs, outputs):
        value = b.conv(value, count, (side, side), padding=border)
    program = b.build(value)
    rng = np.random.default_rng(0)
    ops = tuple(
        replace(
            op, m=op.m << (32 - op.shift), c=op.c << (32 - op.shift), shift=32, weight=weights(op.weight.shape, rng)
        )
        if isinstance(op, Conv)
        else op
        for op in program.ops
    )
    return replace(program, ops=ops)


def weights(shape: tuple[int, ...], rng: np.random.Generator) -> npt.NDArray[np.int8]:
    """Distributed as those of trained layers, which decides what pairs of channels leave over (csrc/cpu/pairs.h)."""
    return np.clip(np.rint(rng.normal(0, DEVIATION, shape)), -128, 127).astype(np.int8)


def measured(side: int, inputs: int, outputs: int, size: int, batch: int, isa: str, rounds: int) -> dict[str, Any]:
    """Microseconds of a layer, measured and by the model, by widths and kernel; and which kernel is taken."""
    program = chain(side, inputs, outputs, size)
    last = max(i for i, op in enumerate(program.ops) if isinstance(op, Conv))
    x = np.random.default_rng(0).standard_normal((batch, inputs, size, size)).astype(np.float32)
    runs = {
        kernel: Runtime(program, threads=1, isa=isa, kernel=kernel) for kernel in kernel_names() if kernel != "slices"
    }
    choosing = Runtime(program, threads=1, isa=isa)
    found: dict[str, Any] = {"side": side, "inputs": inputs, "outputs": outputs, "size": size, "batch": batch}
    print(", ".join(f"{name} {n}" for name, n in found.items()), end=": ")
    found |= {"us": {}, "model": {}, "taken": {}, "counts": {}}
    for pair in PAIRS:
        plan = Plan.of(dict.fromkeys(program.layers, pair))  # of the edges, too
        exact = {kernel: run for kernel, run in runs.items() if run.kernels(x, plan)[last] == kernel}
        if len(exact) > 1:
            label = f"{pair[0]}x{pair[1]}"
            found["us"] |= {f"{label} {k}": us for k, us in timed(exact, x, plan, last, rounds).items()}
            for kernel, run in exact.items():
                counts, costs = next(each for name, *each in run.estimates(x, plan)[last] if name == kernel)
                found["counts"][f"{label} {kernel}"] = counts, costs
                found["model"][f"{label} {kernel}"] = float(f"{np.dot(counts, costs) / 1e3:.4g}")
            found["taken"][label] = choosing.kernels(x, plan)[last]
    print(found["us"], "taken", found["taken"], flush=True)
    return found


def timed(runs: dict[str, Runtime], x: npt.NDArray[Any], plan: Plan, layer: int, rounds: int) -> dict[str, float]:
    """Microseconds of an instruction by kernel; two rounds more are warm-up."""
    times: dict[str, list[float]] = {kernel: [] for kernel in runs}
    for _ in range(rounds + 2):
        for kernel, run in runs.items():
            times[kernel].append(1e6 * run.profile(x, plan)[layer])
    return {kernel: float(f"{np.percentile(values[2:], QUARTILE):.4g}") for kernel, values in times.items()}


def fit(results: list[dict[str, Any]]) -> None:
    """Nanoseconds of each count: least squares of relative errors, twice without the worst shapes, which are noise.

    Kernels with the same costs today are fitted together.
    """
    groups: dict[tuple[str, tuple[float, ...]], list[tuple[str, list[float], float]]] = {}
    for shape in results:
        for key, (counts, costs) in shape["counts"].items():
            pair, kernel = key.split()
            groups.setdefault((kernel, tuple(costs)), []).append((pair, counts, 1e3 * shape["us"][key]))
    for (kernel, costs), measurements in groups.items():
        rows = np.array([np.array(counts) / took for _, counts, took in measurements])
        kept = np.ones(len(rows), dtype=bool)
        for _ in range(3):
            found, _ = nnls(rows[kept], np.ones(kept.sum()))
            errors = np.abs(rows @ found - 1)
            kept = errors <= np.quantile(errors, KEPT)
        before = np.abs(rows @ np.array(costs) - 1)
        pairs = ", ".join(dict.fromkeys(pair for pair, _, _ in measurements))
        print(f"{kernel} at {pairs}: ns {', '.join(f'{n:.4g}' for n in found)}; error {np.median(errors):.1%}, at most "
              f"{errors[kept].max():.1%} of {KEPT:.0%}; with today's {np.median(before):.1%}")  # fmt: skip


def lost(shape: dict[str, Any]) -> dict[str, float]:
    """By pair of widths, the time of the taken kernel over the fastest one's, less 1."""
    found = {}
    for pair, taken in shape["taken"].items():
        us = {key.split()[1]: value for key, value in shape["us"].items() if key.split()[0] == pair}
        if taken in us:  # not "several": the engine cut the batch into slices of unequal size
            found[pair] = us[taken] / min(us.values()) - 1
    return found


def checks(results: list[dict[str, Any]]) -> list[Check]:
    """What the choices lose against the fastest kernel of each shape and pair of widths."""
    every = [value for shape in results for value in lost(shape).values()]
    return [
        Check("time lost by the model's choices, mean over shapes and widths", float(np.mean(every)), "<=", LOST),
        Check("time lost by the model's choices, at most", max(every), "<=", WORST),
    ]


if __name__ == "__main__":
    main()
