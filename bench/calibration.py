"""Time and memory of ``dqt.prepare``, ``dqt.calibrate`` and ``dqt.lower`` on large networks.

Each part runs in a process of its own with one thread. Times are of the processor. Memory is the largest resident one
of a process, torch and the model included: calibration on one batch beside the float network's pass of that batch.

    python -m bench.calibration [fast best memory] [--networks resnet50 vit_b_16]
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import torch
from torch import Tensor, nn

import dqt
from bench.common import Check, child, parser, place_of, write
from bench.common import machine as this_machine
from bench.named import results_in
from bench.networks import images
from bench.resident import status
from dqt.nn.choose_weights import choose_weights
from dqt.nn.layers import WidthLayer
from dqt.testing.zoo import torchvision

NETWORKS = ("resnet50", "vit_b_16")
PARTS = ("fast", "best", "memory")
SIDE, IMAGES, BATCH = 224, 100, 25
AT_ONCE = 32
"""Images of the batch whose memory is compared."""
PREPARE, LOWER, FAST, BEST = 15.0, 30.0, 180.0, 1200.0
"""Seconds at most."""
CLIPS, MEMORY = 0.2, 2.0
"""Seconds for a million weights at most; times the memory of a forward pass at most."""


def main() -> None:
    """Every part that is asked for, in a child; the record is written after each, and keeps the others."""
    options = parser(__doc__)
    options.formatter_class = argparse.RawDescriptionHelpFormatter
    options.add_argument("parts", nargs="*", default=[], choices=[*PARTS, []], help="default: fast memory")
    options.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    options.add_argument("--again", action="store_true", help="also what the record has")
    options.add_argument("--child", choices=CHILDREN, help=argparse.SUPPRESS)
    asked = options.parse_args()
    if asked.child:
        torch.set_num_threads(1)
        print(json.dumps(CHILDREN[asked.child](asked.networks[0])))
        return
    path = place_of("calibration", this_machine())
    results = results_in(path)
    for name in asked.networks:
        row = results.setdefault(name, {})
        for part in asked.parts or ("fast", "memory"):
            if part in row and not asked.again:
                continue
            row[part] = measured(name, part)
            print(name, part, row[part], flush=True)
            settings = {"side": SIDE, "images": IMAGES, "batch": BATCH, "at_once": AT_ONCE}
            write("calibration", settings=settings, results=results, checks=checks(results), path=path)


def measured(name: str, part: str) -> dict[str, Any]:
    """One part of one network."""

    def of(what: str) -> Any:
        return child("bench.calibration", "--child", what, "--networks", name, OMP_NUM_THREADS="1")

    if part != "memory":
        return dict(of(part))
    return {"forward": of("forward")["bytes"], "calibrating": of("calibrating")["bytes"]}


def network(name: str) -> nn.Module:
    """With random weights, in evaluation mode."""
    torch.manual_seed(0)
    model: nn.Module = torchvision().models.get_model(name, weights=None)
    return model.eval()


def batch(count: int) -> Tensor:
    """So many pictures."""
    return torch.cat([images(SIDE, seed=i) for i in range(-(-count // len(images(SIDE))))])[:count]


def stages(name: str, method: Any) -> dict[str, float]:
    """Seconds of each stage, and of the search of the weights' clips for a million of them."""
    model, parts = network(name), list(torch.split(batch(IMAGES), BATCH))
    found: dict[str, float] = {}
    began = time.process_time()

    def over(what: str) -> None:
        nonlocal began
        found[what] = round(time.process_time() - began, 2)
        began = time.process_time()

    net = dqt.prepare(model, parts[0][:2]).eval()
    over("prepare")
    layers = [layer for layer in net.modules() if isinstance(layer, WidthLayer)]
    with torch.no_grad():
        for layer in layers:
            choose_weights(layer, net.config.widths, "mse")
    over("clips")
    found["millions"] = round(sum(layer.weight.numel() for layer in layers) / 1e6, 1)
    dqt.calibrate(net, parts, method=method)
    over("calibrate")
    dqt.lower(net)
    over("lower")
    return found


def calibrating(name: str) -> dict[str, int]:
    """Bytes at the peak of a process that prepares the network and calibrates it on one batch."""
    model, x = network(name), batch(AT_ONCE)
    dqt.calibrate(dqt.prepare(model, x[:2]).eval(), [x])
    return {"bytes": status("VmHWM")}


@torch.no_grad()
def forward(name: str) -> dict[str, int]:
    """Bytes at the peak of a process that runs the float network on one batch."""
    model, x = network(name), batch(AT_ONCE)
    model(x)
    return {"bytes": status("VmHWM")}


CHILDREN = {
    "fast": lambda name: stages(name, "fast"),
    "best": lambda name: stages(name, "best"),
    "calibrating": calibrating,
    "forward": forward,
}


def checks(results: dict[str, Any]) -> list[Check]:
    """The targets of what is there."""
    made = []
    for name, row in results.items():
        for part, most in (("fast", FAST), ("best", BEST)):
            if part in row:
                made.append(Check(f"{name}: seconds of calibrate, {part}", row[part]["calibrate"], "<=", most))
        if "fast" in row:
            fast = row["fast"]
            clips = round(fast["clips"] / fast["millions"], 3)
            made += [
                Check(f"{name}: seconds of prepare", fast["prepare"], "<=", PREPARE),
                Check(f"{name}: seconds of lower", fast["lower"], "<=", LOWER),
                Check(f"{name}: seconds of the search of clips, for a million weights", clips, "<=", CLIPS),
            ]
        if "memory" in row:
            times = round(row["memory"]["calibrating"] / row["memory"]["forward"], 2)
            made.append(Check(f"{name}: peak memory of calibrate over that of a forward pass", times, "<=", MEMORY))
    return made


if __name__ == "__main__":
    main()
