"""Packed files of ResNet-50: their size by width, and the time to make, to upgrade and to load one."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.common import Check, parser, write
from bench.networks import network
from dqt.program.pack import upgrade
from dqt.program.program import Program
from dqt.runtime import Runtime
from dqt.runtime.bench import Spread

NAME, AT_4, SECONDS = "resnet50", 0.52, 1.0
"""Targets: the packed file over the whole one at 4 bits, and seconds to make 8 bits of it."""


def main() -> None:
    """Measure, print, write."""
    options = parser(__doc__)
    options.add_argument("--networks", type=Path, help="folder of bench.networks; default: made anew")
    options.add_argument("--rounds", type=int, default=9)
    arguments = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = measured(network(NAME, arguments.networks or Path(folder)), Path(folder), arguments.rounds)
    four = results["4"]
    checks = [
        Check("ResNet-50 packed to 4 bits over the whole file", four["of"], "<=", AT_4),
        Check("seconds to upgrade it to 8 bits, median", four["upgrade_s"]["median"], "<=", SECONDS),
    ]
    write(
        "packing", settings={"network": NAME, "rounds": arguments.rounds, "threads": 1}, results=results, checks=checks
    )


def measured(program: Program, folder: Path, rounds: int) -> dict[str, Any]:
    """One row for the whole file, and one for each width below the master."""
    whole = folder / "whole.dqt"
    program.save(whole)
    size = whole.stat().st_size
    rows: dict[str, Any] = {"8": {"bytes": size, "of": 1.0, "open_s": times(lambda: Runtime(whole, threads=1), rounds)}}
    for width in reversed(program.space.widths[:-1]):
        rows[str(width)] = row(program, width, whole, folder, rounds)
        print(f"{width} bits: {rows[str(width)]}", flush=True)
    return rows


def row(program: Program, width: int, whole: Path, folder: Path, rounds: int) -> dict[str, Any]:
    """Bytes of the packed file and its delta; seconds of each step."""
    net, delta, copy = folder / "net.dqt", folder / "delta.dqt", folder / "copy.dqt"
    made = times(lambda: program.pack(width).save(net), min(rounds, 3))
    program.save_delta(delta, width)
    wall, processor = [], []
    for _ in range(rounds):
        shutil.copy(net, copy)
        before = time.process_time()
        wall.append(elapsed(lambda: upgrade(copy, delta), time.perf_counter))  # the disk counts
        processor.append(time.process_time() - before)
    assert copy.read_bytes() == whole.read_bytes(), "the upgraded file is another than the whole one"
    return {
        "bytes": net.stat().st_size,
        "of": net.stat().st_size / whole.stat().st_size,
        "delta_bytes": delta.stat().st_size,
        "pack_s": made,
        "upgrade_s": vars(Spread.of(wall)),
        "upgrade_processor_s": vars(Spread.of(processor)),
        "open_s": times(lambda: Runtime(net, threads=1), rounds),
    }


def times(work: Callable[[], Any], rounds: int) -> dict[str, Any]:
    """Seconds of processor time of some runs."""
    return vars(Spread.of([elapsed(work, time.process_time) for _ in range(rounds)]))


def elapsed(work: Callable[[], Any], clock: Callable[[], float]) -> float:
    """Seconds of one run."""
    start = clock()
    work()
    return clock() - start


if __name__ == "__main__":
    main()
