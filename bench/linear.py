"""Linear layers of one row whose weights come from memory, by width; beside ggml's where its libraries are given.

Layers of a chain follow each other, so that no weight is in a cache when its turn comes again. A round is the fastest
layer of one run through the chain; all kinds take turns, and a ratio is of one round. Needs a quiet core:
``taskset -c N`` chooses it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from bench.common import Check, parser, write
from bench.ggml import FORMATS, Ggml
from dqt.program.ops import Linear
from dqt.program.program import Program
from dqt.runtime import Runtime
from dqt.runtime.bench import Spread
from dqt.testing import Builder

WIDTHS = (8, 6, 5, 4, 3, 2)
SHAPES = ((4096, 4096), (4096, 11008))
"""Inputs and outputs."""
LEAST_GBS, FASTER = 28.0, {6: 1.3, 4: 1.9, 2: 3.6}
"""Targets: GB of weights a second at 8 bits; times as fast as 8 bits."""


def main() -> None:
    """Measure, print, write."""
    options = parser(__doc__)
    options.add_argument("--rounds", type=int, default=31)
    options.add_argument("--cache", type=int, default=32, help="MiB of the last-level cache; layers are 8 times that")
    options.add_argument("--ggml", type=Path, help="folder of libggml-base.so and libggml-cpu.so (see bench/README.md)")
    arguments = options.parse_args()
    results = {
        f"{k}x{n}": measured(k, n, arguments.rounds, 8 * arguments.cache << 20, arguments.ggml) for k, n in SHAPES
    }
    settings = {"rows": 1, "threads": 1, "rounds": arguments.rounds, "cache_mib": arguments.cache, "widths": WIDTHS}
    write("linear", settings=settings, results=results, checks=checks(results))


def chain(k: int, n: int, least: int) -> Program:
    """Layers ``k -> n -> k -> ...`` of random weights, ``least`` bytes of them or more."""
    b = Builder(1, (k,), widths=tuple(sorted(WIDTHS)))
    x = "v0"
    for _ in range(-(-least // (2 * k * n))):
        x = b.linear(b.linear(x, n), k)
    return b.build(x)


def measured(k: int, n: int, rounds: int, least: int, ggml: Path | None) -> dict[str, Any]:
    """One shape: microseconds of a layer, GB of weights read a second, and times as fast as 8 bits."""
    kinds: dict[str, tuple[Callable[[], float], float]] = {}
    program = chain(k, n, least)
    run = Runtime(program, threads=1)
    wanted = [i for i, op in enumerate(program.ops) if isinstance(op, Linear) and op.weight.shape == (n, k)]
    x = np.random.default_rng(0).random((1, k)).astype(np.float32)
    for bits in WIDTHS:
        read = k * n * ((bits + 1) // 2) / 4  # slices of two bits
        kinds[f"{bits} bits"] = (lambda b=bits: layer_time(run, x, b, wanted)), read  # type: ignore[misc]
    for name in FORMATS if ggml else ():
        peer = Ggml(ggml, name, k, n, least)  # type: ignore[arg-type]
        kinds[f"ggml {name}"] = (lambda p=peer: peer_time(p)), float(peer.layer_bytes)  # type: ignore[misc]
    times: dict[str, list[float]] = {name: [] for name in kinds}
    for i in range(rounds + 1):
        for name, (once, _) in kinds.items():
            seconds = once()
            if i:  # the first round is warm-up
                times[name].append(seconds)
    eight = np.array(times["8 bits"])
    found = {}
    for name, values in times.items():
        found[name] = {
            "us": vars(Spread.of([1e6 * t for t in values])),
            "gbs": vars(Spread.of([kinds[name][1] / t / 1e9 for t in values])),
            "times_as_fast_as_8_bits": vars(Spread.of(list(eight / np.array(values)))),
        }
        us, gbs, ratio = (entry["median"] for entry in found[name].values())
        print(f"{k}x{n}, {name}: {us:.0f} us, {gbs:.1f} GB/s, {ratio:.2f} times as fast as 8 bits", flush=True)
    return found


def layer_time(run: Runtime, x: Any, bits: int, wanted: list[int]) -> float:
    """Seconds of the fastest of the wanted instructions in one run through the chain: others may be interrupted."""
    seconds = run.profile(x, bits)
    return min(seconds[i] for i in wanted)


def peer_time(peer: Ggml) -> float:
    """Seconds of the fastest of the layers, each once."""
    times = []
    for i in range(peer.layers):
        began = perf_counter()
        peer.run(i)
        times.append(perf_counter() - began)
    return min(times)


def checks(results: dict[str, Any]) -> list[Check]:
    """The stream of weights at 8 bits, and what fewer bits save."""
    made = []
    for shape, found in results.items():
        made.append(Check(f"{shape}, GB/s of weights at 8 bits", found["8 bits"]["gbs"]["median"], ">=", LEAST_GBS))
        made += [
            Check(f"{shape}, {bits} bits, times as fast as 8", entry["median"], ">=", target)
            for bits, target in FASTER.items()
            for entry in (found[f"{bits} bits"]["times_as_fast_as_8_bits"],)
        ]
    return made


if __name__ == "__main__":
    main()
