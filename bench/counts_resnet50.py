"""What is counted, on torchvision's ResNet-50 at 224x224, beside what the DQT paper states."""

from __future__ import annotations

from typing import Any

import torch

import dqt
from bench.common import Check, parser, write
from dqt.arith.plan import Layer
from dqt.testing.zoo import torchvision

PAPER = {"shifts": 28.3e6, "float_operations": 56.6e6}
DEFINITION = {
    "shifts_weights": "weights of the layers that run below the master width; each is narrowed by one shift",
    "shifts_activations": "inputs of the layers that run below the master width; each is narrowed by one shift",
    "float_path": "float operations of a method that dequantizes and requantizes the same elements, 2 an element",
    "plan": "all layers at 4 bits, the first and the last at 8",
}
COUNTS = {
    "macs": 4.09e9,
    "weights": 25.5e6,
    "convolution_weights": 23.45e6,
    "convolution_inputs": 10.66e6,
    "convolution_outputs": 11.11e6,
}


def main() -> None:
    """Count, print, write."""
    parser(__doc__).parse_args()
    model = torchvision().models.resnet50(weights=None).eval()
    net = dqt.prepare(model, torch.zeros(1, 3, 224, 224))
    counts = totals(net.space.layers)
    cost = dqt.cost(net, 4)
    shifts = cost.shifts_weights + cost.shifts_activations
    results = {
        "counts": counts,
        "at_4_bits": cost.as_dict(),
        "shifts_all": shifts,
        "definition": DEFINITION,
        "the_paper_states": PAPER,
    }
    for name, value in (counts | {"shifts": shifts, "float path": cost.float_path}).items():
        print(f"{name}: {value / 1e6:,.2f} M")
    print("the paper states", *(f"{value / 1e6} M {name.replace('_', ' ')}" for name, value in PAPER.items()))
    checks = [
        Check(f"{name}, deviation from {wanted / 1e6:g} M in percent", deviation(counts[name], wanted), "<=", 0.5)
        for name, wanted in COUNTS.items()
    ]
    write("counts_resnet50", settings={"input": [3, 224, 224], "weights": "random"}, results=results, checks=checks)


def totals(layers: tuple[Layer, ...]) -> dict[str, Any]:
    """Sums over the layers; the last one is the classifier, the others are convolutions."""
    convolutions = layers[:-1]
    return {
        "macs": sum(layer.macs for layer in layers),
        "weights": sum(layer.weights for layer in layers),
        "convolution_weights": sum(layer.weights for layer in convolutions),
        "convolution_inputs": sum(layer.inputs for layer in convolutions),
        "convolution_outputs": sum(layer.outputs for layer in convolutions),
    }


def deviation(value: float, wanted: float) -> float:
    """In percent, to two digits."""
    return round(100 * abs(value / wanted - 1), 2)


if __name__ == "__main__":
    main()
