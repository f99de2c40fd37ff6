"""Latency of the native engine by width and batch, beside ONNX Runtime, OpenVINO and LiteRT where they are installed.

All engines run the same weights on the same core, in turns, and a ratio compares times of the same round. The script
needs a quiet core: by default it takes the last one; ``taskset -c N`` chooses another.
"""

from __future__ import annotations

import importlib.util
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.common import Check, parser, write
from bench.litert import PEERS
from bench.networks import SIDES, network
from dqt.arith.plan import PlanLike
from dqt.program.program import Program
from dqt.runtime.bench import OWN, Report, bench

CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}
"""The second is the time of every thread of this process, so it is for one thread alone."""
WIDTHS, BATCHES = (8, 4, 2), (1, 8)
FASTEST = {"mobilenet_v2": 0.8}
"""Time at 8 bits over that of the fastest peer, at most; 1 where nothing is said."""
FEWER = {("resnet50", "4"): 0.87, ("resnet18", "4"): 0.78, ("resnet50", "2"): 0.62, ("resnet18", "2"): 0.62}
"""Time at fewer bits over that at 8, at most."""
AGREE = 0.9
"""Share of equal top-1 on noise, at which random networks are all but undecided."""


def main() -> None:
    """Measure, print, write."""
    options = parser(__doc__)
    options.add_argument("--folder", type=Path, help="where the networks are kept; made anew without")
    options.add_argument("--weights", type=Path, help="float weights of ResNet-20; random without")
    options.add_argument("--networks", nargs="+", choices=SIDES, default=list(SIDES))
    options.add_argument("--batch", type=int, nargs="+", default=list(BATCHES))
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--seconds", type=float, default=10.0, help="of each engine and width, at each batch")
    options.add_argument("--clock", choices=CLOCKS, default="wall", help="processor: where the core is shared")
    options.add_argument("--against", nargs="*", choices=PEERS, default=installed(), help="default: the installed")
    arguments = options.parse_args()
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.networks:
            program = network(name, arguments.folder or Path(folder), arguments.weights)
            results[name] = measured(name, program, arguments) | {"weights": program.info["weights"]}
    settings = {
        "threads": arguments.threads,
        "batches": arguments.batch,
        "widths": WIDTHS,
        "seconds": arguments.seconds,
        "clock": arguments.clock,
        "against": arguments.against,
        "input": "noise",
    }
    write("engine", settings=settings, results=results, checks=checks(results))


def installed() -> list[str]:
    """The peers whose package is here, and ``onnx``, which two of them need."""
    needed = {name: [peer.module] if name == "litert" else [peer.module, "onnx"] for name, peer in PEERS.items()}
    return [name for name, modules in needed.items() if all(map(importlib.util.find_spec, modules))]


def measured(name: str, program: Program, arguments: Any) -> dict[str, Any]:
    """One network: every row, and the ratios by name."""
    plans: dict[str, PlanLike] = {str(b): b for b in WIDTHS}
    report = bench(
        program, plans=plans, batches=arguments.batch, threads=arguments.threads, seconds=arguments.seconds,
        against=arguments.against, peers=PEERS, clock=CLOCKS[arguments.clock],
    )  # fmt: skip
    for row in report.rows:
        print(f"{name}, batch {row.batch}, {row.engine} at {row.bits} bits: {row.ms}, ratio {row.ratio}", flush=True)
    return report.as_dict() | {"medians": medians(report)}


def medians(report: Report) -> dict[str, dict[str, float]]:
    """Batch -> contestant -> its time over that of dqt at 8 bits, and over the fastest peer's: medians over rounds."""
    found: dict[str, dict[str, float]] = {}
    for batch in sorted({row.batch for row in report.rows}):
        rows = [row for row in report.rows if row.batch == batch]
        entry = {f"{row.engine} at {row.bits} / dqt at 8": round(row.ratio.median, 4) for row in rows}
        peers = [row.ratio.median for row in rows if row.engine != OWN]
        if peers:
            entry["dqt at 8 / fastest peer"] = round(1 / min(peers), 4)
        found[str(batch)] = entry
    return found


def checks(results: dict[str, Any]) -> list[Check]:
    """As fast as the fastest peer, faster at fewer bits, and the same answers."""
    made = []
    for name, found in results.items():
        for batch, entry in found["medians"].items():
            if "dqt at 8 / fastest peer" in entry:
                what = f"{name}, batch {batch}, time at 8 bits over the fastest peer's"
                made.append(Check(what, entry["dqt at 8 / fastest peer"], "<=", FASTEST.get(name, 1.0)))
            for (which, bits), most in FEWER.items():
                if which == name:
                    what = f"{name}, batch {batch}, time at {bits} bits over that at 8"
                    made.append(Check(what, entry[f"dqt at {bits} / dqt at 8"], "<=", most))
        made += [
            Check(f"{name}, share of top-1 equal to {one['engine']}'s", one["top1"], ">=", AGREE)
            for one in found["agreement"]
        ]
    return made


if __name__ == "__main__":
    main()
