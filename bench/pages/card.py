"""The numbers of docs/model-card.md, from the records of the example's two runs."""

from __future__ import annotations

import json
from pathlib import Path

from bench.common import RESULTS
from bench.evidence import records
from bench.evidence.records import Record
from bench.markdown import table
from bench.pages.targets import AT_3_BITS, BASE, SHIPPED_SEED


def shipped(folder: Path = records.FOLDER) -> tuple[Record, Record]:
    """The records of the network and of the controller that was trained for it."""
    names = ((BASE, SHIPPED_SEED), (AT_3_BITS, 0))
    network, controller = (records.load(records.path_of(name, seed, folder)) for name, seed in names)
    return network, controller


def blocks() -> dict[str, str]:
    """Name of each block of the page -> its content."""
    network, controller = shipped()
    float_top1 = json.loads((RESULTS / "cifar10_ptq.json").read_text())["results"]["float_top1"]
    return {"accuracy": accuracy(network, controller), "facts": facts(network, controller, float_top1)}


def accuracy(network: Record, controller: Record) -> str:
    """Top-1 and BitOPs of every width, and of the controller."""
    points = {b: controller.uniform(b) for b in controller.recipe["network"]["widths"]}
    found = [(str(b), point) for b, point in sorted(points.items(), reverse=True) if point is not None]
    found += [("auto", point) for point in controller.of("auto")]
    lines = [(label, f"{100 * each.accuracy:.2f}", f"{100 * each.share:.1f}") for label, each in found]
    heads = ("bits", f"top-1 on the {network.images['test']:,} test images, %", "BitOPs, % of 8 bits")
    said = f"One training run, seed {network.seed}. The file has {controller.program_bytes:,} bytes."
    return table(heads, lines, left=0) + f"\n{said}\n"


def facts(network: Record, controller: Record, float_top1: float) -> str:
    """Data, weights, recipe and controller, with their numbers."""
    recipe, images, own = network.recipe["recipe"], network.images, controller.controller
    assert own is not None
    share = own.parameters / own.model_weights
    rows = (
        f"- **Training images**: {images['train']:,} of CIFAR-10.",
        f"- **Held-out images**: {images['held_out']:,}. The example has the best mean accuracy on them.",
        f"- **Initial weights**: a float ResNet-20 with {float_top1:.2f} %",
        "  (akamaster/pytorch_resnet_cifar10, BSD-2-Clause).",
        f"- **Recipe**: [{BASE}.toml](../bench/evidence/recipes/{BASE}.toml), {recipe['epochs']} epochs of SGD",
        f"  with learning rate {recipe['lr']}, after as many epochs of the same kind. A training step makes three",
        "  passes, and a float ResNet-56 teaches each of them.",
        f"- **Controller**: [{AT_3_BITS}.toml](../bench/evidence/recipes/{AT_3_BITS}.toml), {own.parameters:,}",
        f"  parameters, {100 * share:.2f} % of the network's weights.",
    )
    return "\n".join(rows) + "\n"
