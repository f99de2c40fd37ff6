"""Which kernel a 3x3 convolution of few bits takes: the model of costs beside measurement, shape by shape.

Three convolutions of one shape follow each other; the time is that of the third, so that it finds its input where a
layer leaves it. Both kernels, forced by name, take turns, and a ratio is of one round. The constants of the model
(csrc/simd/winograd_avx512.cc) are those that fit best here, by least squares of relative errors; ``--fit`` prints them
anew. Needs a quiet core: ``taskset -c N`` chooses it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from scipy.optimize import nnls

from bench.common import Check, parser, write
from dqt.arith.plan import Plan
from dqt.program.ops import Conv
from dqt.program.program import Program
from dqt.runtime import Runtime
from dqt.runtime.bench import Spread
from tests.program.build import Builder

CHANNELS = ((16, 64), (32, 64), (64, 64), (64, 256), (96, 128), (128, 128), (256, 64), (256, 256), (512, 512))
"""Inputs and outputs, these multiples of 64: of fewer columns there is no transform."""
SIZES = (2, 4, 7, 8, 10, 14, 16, 28, 56)
BATCHES = (1, 8)
LEAST_MACS, MOST_MACS = 3e5, 5e8
BITS, KERNELS = 4, ("block", "winograd")
LOST, WORST = 0.02, 0.15
"""Targets: time that the model's choices lose in all, and at most on one shape."""


def main() -> None:
    """Measure, print, write."""
    options = parser(__doc__)
    options.add_argument("--rounds", type=int, default=15)
    options.add_argument("--fit", action="store_true", help="print the constants that fit these measurements best")
    arguments = options.parse_args()
    results = [measured(*shape, arguments.rounds) for shape in shapes()]
    if arguments.fit:
        fit(results)
    settings = {"threads": 1, "rounds": arguments.rounds, "bits": BITS, "kernel": "3x3, stride 1"}
    write("kernels", settings=settings, results={"shapes": results}, checks=checks(results))


def shapes() -> list[tuple[int, int, int, int]]:
    """Inputs, outputs, height and width, batch."""
    every = [(i, o, size, batch) for i, o in CHANNELS for size in SIZES for batch in BATCHES]
    return [shape for shape in every if LEAST_MACS <= 9 * shape[0] * shape[1] * shape[2] ** 2 * shape[3] <= MOST_MACS]


def chain(inputs: int, outputs: int, size: int) -> Program:
    """Convolutions ``inputs -> outputs -> inputs -> outputs``, requantized as a lowered network's are."""
    b = Builder(1, (inputs, size, size), widths=(2, 3, 4, 8))
    program = b.build(b.conv(b.conv(b.conv("v0", outputs), inputs), outputs))
    ops = tuple(
        replace(op, m=op.m << (32 - op.shift), c=op.c << (32 - op.shift), shift=32) if isinstance(op, Conv) else op
        for op in program.ops
    )
    return replace(program, ops=ops)


def measured(inputs: int, outputs: int, size: int, batch: int, rounds: int) -> dict[str, Any]:
    """Microseconds of a layer by either kernel, and which of them the model takes."""
    program = chain(inputs, outputs, size)
    last = max(i for i, op in enumerate(program.ops) if isinstance(op, Conv))
    x = np.random.default_rng(0).standard_normal((batch, inputs, size, size)).astype(np.float32)
    plan = Plan.of(dict.fromkeys(program.layers, (BITS, BITS)))  # of the edges, too
    runs = {kernel: Runtime(program, threads=1, kernel=kernel) for kernel in KERNELS}
    times: dict[str, list[float]] = {kernel: [] for kernel in KERNELS}
    for i in range(rounds + 2):
        for kernel, run in runs.items():
            seconds = run.profile(x, plan)[last]
            if i >= 2:  # warm-up
                times[kernel].append(1e6 * seconds)
    chosen = Runtime(program, threads=1).kernels(x, plan)[last]
    us = {kernel: Spread.of(values).median for kernel, values in times.items()}
    ratio = Spread.of(list(np.array(times["winograd"]) / np.array(times["block"])))
    print(f"{inputs:3} -> {outputs:3}, {size:2}x{size:<2}, batch {batch}: winograd over block {ratio.median:.3f}, "
          f"taken: {chosen}", flush=True)  # fmt: skip
    shape = {"inputs": inputs, "outputs": outputs, "size": size, "batch": batch}
    return shape | {"us": us, "winograd_over_block": vars(ratio), "taken": chosen}


def counts(shape: dict[str, Any]) -> dict[str, list[float]]:
    """What either kernel does, in thousands, in the order of WinogradCosts (csrc/kernels.h)."""
    weights, columns = 4 * -(-shape["inputs"] // 4) * shape["outputs"], shape["outputs"]
    tiles, pixels = shape["batch"] * (-(-shape["size"] // 2)) ** 2, shape["batch"] * shape["size"] ** 2
    block = [9 * pixels * weights, 9 * -(-pixels // 6) * weights, pixels * columns]
    products, passes = 16 * tiles * weights, 16 * -(-tiles // 6) * weights
    winograd = [products, passes, 16 * tiles * shape["inputs"], tiles * columns, 9 * weights]
    return {"block": [n / 1e3 for n in block], "winograd": [n / 1e3 for n in winograd]}


def fit(results: list[dict[str, Any]]) -> None:
    """Nanoseconds of each count, least squares of relative errors."""
    for kernel in KERNELS:
        took = np.array([shape["us"][kernel] for shape in results])
        rows = np.array([counts(shape)[kernel] for shape in results]) / took[:, None]
        found, _ = nnls(rows, np.ones(len(took)))
        errors = np.abs(rows @ found - 1)
        print(f"{kernel}: ns {', '.join(f'{each:.4g}' for each in found)}; error {np.median(errors):.1%}, "
              f"at most {errors.max():.1%}")  # fmt: skip


def checks(results: list[dict[str, Any]]) -> list[Check]:
    """What the choices lose against the faster kernel of each shape."""
    lost = [shape["us"][shape["taken"]] / min(shape["us"][kernel] for kernel in KERNELS) - 1 for shape in results]
    return [
        Check("time lost by the model's choices, mean over the shapes", float(np.mean(lost)), "<=", LOST),
        Check("time lost by the model's choices, at most", max(lost), "<=", WORST),
    ]


if __name__ == "__main__":
    main()
