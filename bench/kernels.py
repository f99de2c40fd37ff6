"""Which kernel a convolution of few bits takes: the choice by the cost model beside measurements, shape by shape.

A program has three convolutions of one shape, 3x3 or 1x1, and the third is timed, so that its input is where the layer
before it leaves it. All kernels that are exact for the shape run in turns, forced by name, and a ratio compares times
of the same round. The constants of the cost model (csrc/cpu/simd) minimize the squared relative errors here;
``--fit`` prints them. The script needs a quiet core: ``taskset -c N`` chooses it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from scipy.optimize import nnls

from bench.common import Check, parser, write
from dqt.arith.plan import Plan
from dqt.program.ops.conv import Conv
from dqt.program.program import Program
from dqt.runtime import Runtime
from dqt.runtime.bench import Spread
from dqt.testing import Builder

SIDES = (3, 1)
"""Of the kernel."""
CHANNELS = ((16, 64), (32, 64), (64, 64), (64, 256), (96, 128), (128, 128), (256, 64), (256, 256), (512, 512))
"""Inputs and outputs, these multiples of 64: of fewer columns there is no transform."""
SIZES = (2, 4, 7, 8, 10, 14, 16, 28, 56)
BATCHES = (1, 8)
LEAST_MACS, MOST_MACS = 3e5, 1e9
PAIRS = ((4, 4), (3, 3), (2, 2), (2, 3), (3, 2))
"""Bits of weights and of activations."""
KERNELS = {
    "block": (1, 1, PAIRS),
    "winograd2x2": (2, 2, PAIRS),
    "winograd2x4": (2, 4, PAIRS[1:]),
    "winograd3x4": (3, 4, ((2, 2),)),
    "lookup": (1, 1, ((2, 2),)),
    "lookup 2x3": (1, 1, ((2, 3),)),
    "lookup 3x2": (1, 1, ((3, 2),)),
}
"""Outputs of a tile, down and across; the pairs at which a kernel, named by the first word, is exact. Timed at 2 by 2
bits, or at its only pair.
"""
ROWS = 6
"""Pixels or tiles of a block: BLOCK_ROWS and TILES (csrc/cpu/kernels.h)."""
LOOKUP = {"avx512vnni": (128, 4), "avx2": (64, 8)}
"""Columns and pixels of a block by lookup."""
FILLED = {("avx512vnni", "lookup 3x2"): 8, ("avx2", "lookup"): 8, ("avx2", "lookup 2x3"): 8}
"""Channels that fill the codes of a lookup, where they are not 12."""
CHUNK, CACHED = 256, 160 << 10
"""Pixels of a chunk of samples, each of which transforms the weights anew; transformed weights that are kept instead
(csrc/cpu/winograd.cc)."""
KEPT = 0.93
LOST, WORST = 0.02, 0.15
"""Targets: time that the model's choices lose in all, and at most on one shape."""


def main() -> None:
    """Measure, print, write."""
    options = parser(__doc__)
    options.add_argument("--rounds", type=int, default=15)
    options.add_argument("--isa", choices=LOOKUP, default="avx512vnni")
    options.add_argument("--fit", action="store_true", help="print the constants that fit these measurements best")
    arguments = options.parse_args()
    results = [measured(*shape, arguments.isa, arguments.rounds) for shape in shapes()]
    if arguments.fit:
        fit(results, arguments.isa)
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
    ops = tuple(
        replace(op, m=op.m << (32 - op.shift), c=op.c << (32 - op.shift), shift=32) if isinstance(op, Conv) else op
        for op in program.ops
    )
    return replace(program, ops=ops)


def measured(side: int, inputs: int, outputs: int, size: int, batch: int, isa: str, rounds: int) -> dict[str, Any]:
    """Microseconds of a layer by the block kernel, every kernel over it, and which one the model takes by widths."""
    program = chain(side, inputs, outputs, size)
    last = max(i for i, op in enumerate(program.ops) if isinstance(op, Conv))
    x = np.random.default_rng(0).standard_normal((batch, inputs, size, size)).astype(np.float32)
    plans = {pair: Plan.of(dict.fromkeys(program.layers, pair)) for pair in PAIRS}  # of the edges, too
    timed = {kernel: plans[(2, 2) if (2, 2) in pairs else pairs[0]] for kernel, (_, _, pairs) in KERNELS.items()}
    runs = {kernel: Runtime(program, threads=1, isa=isa, kernel=kernel.split()[0]) for kernel in KERNELS}
    runs = {kernel: run for kernel, run in runs.items() if run.kernels(x, timed[kernel])[last] == kernel.split()[0]}
    times: dict[str, list[float]] = {kernel: [] for kernel in runs}
    for i in range(rounds + 2):
        for kernel, run in runs.items():
            seconds = run.profile(x, timed[kernel])[last]
            if i >= 2:  # warm-up
                times[kernel].append(1e6 * seconds)
    choosing = Runtime(program, threads=1, isa=isa)
    taken = {f"{w}x{a}": choosing.kernels(x, plan)[last] for (w, a), plan in plans.items()}
    block = np.array(times["block"])
    over = {kernel: Spread.of(list(np.array(values) / block)).median for kernel, values in times.items()}
    ratios = ", ".join(f"{kernel} {ratio:.3f}" for kernel, ratio in over.items())
    shape = {"side": side, "inputs": inputs, "outputs": outputs, "size": size, "batch": batch}
    print(f"{', '.join(f'{name} {n}' for name, n in shape.items())}: {ratios}; taken: {taken}", flush=True)
    return shape | {"us": float(f"{np.median(block):.4g}"), "over_block": over, "taken": taken}


def counts(shape: dict[str, Any], kernel: str, isa: str) -> list[float]:
    """What a kernel does, in thousands, in the order of the costs of csrc/cpu/kernels.h."""
    side, inputs, outputs, size = (shape[name] for name in ("side", "inputs", "outputs", "size"))
    weights = inputs * outputs
    pixels = shape["batch"] * size**2
    if kernel == "block":
        found = [side**2 * pixels * weights, side**2 * -(-pixels // ROWS) * weights, pixels * outputs]
    elif kernel.startswith("lookup"):
        (columns, rows), channels = LOOKUP[isa], FILLED.get((isa, kernel), 12)
        products = side**2 * pixels * outputs * channels * -(-inputs // channels)
        pair = outputs // columns * columns / outputs if columns > 64 else 0
        alone = 1 - pair
        passes, read = side**2 * -(-pixels // rows) * weights, shape["batch"] * (size + side - 1) ** 2 * inputs
        found = [products * pair, products * alone, passes, read, pixels * outputs, side**2 * weights]
    else:
        down, across, _ = KERNELS[kernel]
        one, positions = -(-size // down) * -(-size // across), (down + 2) * (across + 2)
        tiles, chunk = shape["batch"] * one, max(1, CHUNK // (one * down * across))
        strips = -(-outputs // 64) * positions * (inputs * 64 + 320) <= CACHED
        times = 1 if strips else -(-shape["batch"] // chunk)
        products, passes = positions * tiles * weights, positions * -(-tiles // ROWS) * weights
        found = [products, passes, positions * tiles * inputs, tiles * outputs, 9 * weights * times]
    return [n / 1e3 for n in found]


def fit(results: list[dict[str, Any]], isa: str) -> None:
    """Nanoseconds of each count: least squares of relative errors, twice without the worst shapes, which are noise."""
    for kernel in KERNELS:
        of = [shape for shape in results if kernel in shape["over_block"]]
        if not of:
            continue
        took = np.array([shape["us"] * shape["over_block"][kernel] for shape in of])
        rows = np.array([counts(shape, kernel, isa) for shape in of]) / took[:, None]
        kept = np.ones(len(took), dtype=bool)
        for _ in range(3):
            found, _ = nnls(rows[kept], np.ones(kept.sum()))
            errors = np.abs(rows @ found - 1)
            kept = errors <= np.quantile(errors, KEPT)
        print(f"{kernel}: ns {', '.join(f'{each:.4g}' for each in found)}; error {np.median(errors):.1%}, "
              f"at most {errors[kept].max():.1%} of {KEPT:.0%}")  # fmt: skip


def checks(results: list[dict[str, Any]]) -> list[Check]:
    """What the choices lose against the fastest kernel of each shape and pair of widths."""
    lost = []
    for shape in results:
        over = shape["over_block"]
        for w, a in PAIRS:
            exact = {
                kernel.split()[0]: over[kernel]
                for kernel, (_, _, pairs) in KERNELS.items()
                if (w, a) in pairs and kernel in over
            }
            taken = shape["taken"][f"{w}x{a}"]
            if taken in exact:  # not "several": the engine cut the batch into slices of unequal size
                lost.append(exact[taken] / min(exact.values()) - 1)
    return [
        Check("time lost by the model's choices, mean over shapes and widths", float(np.mean(lost)), "<=", LOST),
        Check("time lost by the model's choices, at most", max(lost), "<=", WORST),
    ]


if __name__ == "__main__":
    main()
