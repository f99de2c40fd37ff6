"""The tables of networks without training in docs/results.md."""

from __future__ import annotations

import json
from typing import Any

from bench.common import RESULTS, processor_name
from bench.markdown import table

NAMES = {"resnet20": "ResNet-20", "resnet56": "ResNet-56", "mobilenet_v2": "MobileNetV2, agreement"}
METHODS = ("fast", "best")


def blocks() -> dict[str, str]:
    """Name of each block of the page -> its content."""
    return {"untrained": untrained()}


def untrained() -> str:
    """The results of ``bench/untrained.py`` and its targets as Markdown, with where they were measured."""
    document = json.loads((RESULTS / "untrained.json").read_text())
    results, machine = document["results"], document["machine"]
    lines = []
    for name, title in NAMES.items():
        for method in (each for each in METHODS if each in results.get(name, {})):
            found = results[name][method]
            accuracy = f"{results[name]['float']:.2f}" if "float" in results[name] else ""
            right = (f"{value:.2f}" for value in found["right"].values())
            lines.append((title, method, accuracy, *right, f"{found['seconds']:.0f} s"))
    widths = next(iter(results.values()))["fast"]["right"]
    text = table(("network", "method", "float", *(f"{b} bits" for b in widths), "time"), lines)
    targets = [
        (each["what"], f"{_RELATION[each['relation']]} {each['target']:g}", f"{each['value']:.2f}", _said(each["met"]))
        for each in document["targets"]
    ]
    where = (
        "Of the ResNets: answers of the integer program that are right, in percent, on "
        f"{_each(results, 'judged', 'test images')} of CIFAR-10, after calibration on "
        f"{_each(results, 'images', 'training images')}.{_samples(results)} The time is that of one core "
        f"({processor_name(machine)}, {machine['date']})."
    )
    return f"{text}\n{where}\n\n" + table(("what", "target", "found", ""), targets)


def _each(results: dict[str, Any], key: str, what: str) -> str:
    """A number that the ResNets share."""
    (number,) = {found[key] for name, found in results.items() if name != "mobilenet_v2"}
    return f"{number:,} {what}"


def _samples(results: dict[str, Any]) -> str:
    """What was judged of MobileNetV2, if it was measured."""
    found = results.get("mobilenet_v2")
    if found is None:
        return ""
    return f" Of MobileNetV2: those that are the float network's, on {found['judged']} samples of ImageNet."


_RELATION = {"<=": "at most", ">=": "at least"}


def _said(met: bool) -> str:
    return "met" if met else "**missed**"
