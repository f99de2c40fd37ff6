"""Time and memory of a training step of ResNet-20 at 32x32, batch 128, over those of the float model.

In a round every kind of training step runs once, so that other load on the machine affects all kinds alike; the results
are ratios of times of the same round. Each setting runs in a process of its own. The memory allocator matters: glibc
returns large blocks to the system at once, and on a virtual machine it is expensive to get them again. Every kind of
training step is therefore timed with this behaviour switched off and with it switched on.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.common import Check, child, parser, write
from dqt.runtime.bench import Spread

BATCH, CONTROLLER_CHOICES = 128, (2, 3, 4, 6, 8)
KEEP = {"MALLOC_TRIM_THRESHOLD_": "1000000000000", "MALLOC_MMAP_MAX_": "0"}
KINDS = ("float", "8 bits", "4 bits", "sandwich of three", "with the controller", "routed alone")
TARGETS = {"8 bits": 1.35, "4 bits": 1.35, "sandwich of three": 4.0, "with the controller": 5.0}
ROUTED, MEMORY = 2.5, 2.0
WARM = 2


def main() -> None:
    """Run every setting in a child process; print, write."""
    arguments = parser(__doc__)
    arguments.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    arguments.add_argument("--rounds", type=int, default=15)
    arguments.add_argument("--child", choices=("time", "memory"), help=argparse.SUPPRESS)
    arguments.add_argument("--kind", choices=KINDS, default="float", help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.child == "time":
        print(json.dumps(timed(options.threads[0], options.rounds)))
    elif options.child == "memory":
        print(json.dumps(peak(options.kind, options.threads[0])))
    else:
        parent(options.threads, options.rounds)


def parent(threads: list[int], rounds: int) -> None:
    """Every setting, one child after the other. This process never imports torch: a child's peak starts from ours."""
    speed: dict[str, Any] = {}
    for count in threads:
        for allocator, environment in (("kept", KEEP), ("default", {})):
            name = f"{count} thread{'s' * (count > 1)}, allocator {allocator}"
            speed[name] = child(
                "bench.training_speed", "--child", "time", "--threads", str(count), "--rounds", str(rounds),
                OMP_NUM_THREADS=str(count), **environment,
            )  # fmt: skip
            print(
                name,
                *(f"{kind}: {found['median']}" for kind, found in speed[name]["ratio_to_float"].items()),
                sep="\n  ",
            )
    memory = {name: memory_of(environment) for name, environment in (("kept", KEEP), ("default", {}))}
    settings = {
        "batch": BATCH,
        "rounds": rounds,
        "memory_order": "channels-last",
        "allocator_kept": KEEP,
        "optimizer": "SGD",
    }
    settings |= {"controller_choices": CONTROLLER_CHOICES}
    results = {"speed": speed, "memory": memory}
    write("training_speed", settings=settings, results=results, checks=checks(results))


def memory_of(environment: dict[str, str]) -> dict[str, Any]:
    """Peak of each kind of step in its own process, and the ratio to float's."""
    found = {
        kind: child("bench.training_speed", "--child", "memory", "--threads", "1", "--kind", kind, **environment)
        for kind in KINDS
    }
    base = found["float"]
    for kind, entry in found.items():
        entry["ratio_process"] = round(entry["peak_mib"] / base["peak_mib"], 3)
        entry["ratio_of_the_steps_own"] = round(entry["own_mib"] / base["own_mib"], 3)
        print(f"  memory {kind}: {entry}", flush=True)
    return found


def timed(threads: int, rounds: int) -> dict[str, Any]:
    """Seconds of each kind of step, and its ratio to float's of the same round."""
    import torch

    torch.set_num_threads(threads)
    steps = {kind: step_of(kind) for kind in KINDS}
    seconds: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for i in range(WARM + rounds):
        for kind, step in steps.items():
            start = time.perf_counter()
            step(i)
            if i >= WARM:
                seconds[kind].append(time.perf_counter() - start)
    plain = "8 bits"
    return {
        "seconds": {kind: vars(Spread.of(values)) for kind, values in seconds.items()},
        "ratio_to_float": {kind: ratio(seconds[kind], seconds["float"]) for kind in KINDS if kind != "float"},
        "ratio_to_a_plain_quantized_step": {"routed alone": ratio(seconds["routed alone"], seconds[plain])},
    }


def ratio(a: list[float], b: list[float]) -> dict[str, Any]:
    """The spread of the ratios of two steps, round by round."""
    return vars(Spread.of([x / y for x, y in zip(a, b, strict=True)]))


def peak(kind: str, threads: int) -> dict[str, Any]:
    """The process's peak with this kind of step alone, and how much of it the steps added."""
    import torch

    torch.set_num_threads(threads)
    step = step_of(kind)
    before = resident()
    for i in range(3):
        step(i)
    return {"peak_mib": largest(), "own_mib": round(largest() - before, 1)}


def largest() -> float:
    """The largest resident size of this process so far, in MiB."""
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(size / (1 << 20 if sys.platform == "darwin" else 1 << 10), 1)


def resident() -> float:
    """The resident size of this process now, in MiB; the largest so far where the system does not tell."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        return largest()
    return int(statm.read_text().split()[1]) * resource.getpagesize() / 2**20


def step_of(kind: str) -> Callable[[int], None]:
    """A training step: forward, backward and the optimizer, on one batch of noise."""
    import torch
    from torch.nn import functional as F

    import dqt
    from dqt.train.layout import arrange, arranged, memory_order
    from dqt.train.models import resnet20

    generator = torch.Generator().manual_seed(0)
    x = torch.randn(BATCH, 3, 32, 32, generator=generator)
    y = torch.randint(10, (BATCH,), generator=generator)
    torch.manual_seed(0)
    model: Any = resnet20()
    if kind != "float":
        controller = dqt.Controller(choices=CONTROLLER_CHOICES) if kind in KINDS[-2:] else None
        model = dqt.prepare(model, x[:2], dqt.Config(controller=controller))
        dqt.calibrate(model, [x[:32]])
    order = memory_order(x.device, True, model.train())
    arrange(model, order)
    x = arranged(x, order)
    optimizer = torch.optim.SGD(model.parameters(), 1e-3, momentum=0.9, nesterov=True, weight_decay=1e-4)
    recipe = dqt.Recipe(alpha=0.0 if kind == "routed alone" else 1.0, draw="uniform")

    def step(i: int) -> None:
        optimizer.zero_grad(set_to_none=True)
        if kind in KINDS[3:]:
            dqt.objective(model, x, y, recipe, step=i, total_steps=100, backward=torch.Tensor.backward)
        else:
            width = (int(kind[0]),) if kind != "float" else ()
            F.cross_entropy(model(x, *width), y).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def checks(results: dict[str, Any]) -> list[Check]:
    """The targets, each by the median of the ratios."""
    made = []
    for setting, found in results["speed"].items():
        ratios = found["ratio_to_float"]
        made += [Check(f"{kind}, {setting}", ratios[kind]["median"], "<=", most) for kind, most in TARGETS.items()]
        routed = found["ratio_to_a_plain_quantized_step"]["routed alone"]["median"]
        made.append(Check(f"routed alone, to a plain quantized step, {setting}", routed, "<=", ROUTED))
    for allocator, kinds in results["memory"].items():
        worst = max(entry["ratio_of_the_steps_own"] for entry in kinds.values())
        made.append(Check(f"peak memory of the steps, worst kind, allocator {allocator}", worst, "<=", MEMORY))
    return made


if __name__ == "__main__":
    main()
