"""The tables of networks without training in docs/results.md."""

from __future__ import annotations

import json
from typing import Any

from bench.common import RESULTS, timed_on
from bench.markdown import table

ACCURACY = {"resnet20": "ResNet-20", "resnet56": "ResNet-56"}
AGREEMENT = {"mobilenet_v2": "MobileNetV2", "efficientnet_lite0": "EfficientNet-Lite0"}
METHODS = {"fast": "fast", "best": "best", "shared": "fast, shared ranges"}
_RELATION = {"<=": "at most", ">=": "at least"}


def blocks() -> dict[str, str]:
    """Name of each block of the page -> its content."""
    document = json.loads((RESULTS / "untrained.json").read_text())
    return {"untrained": untrained(document)}


def untrained(document: dict[str, Any]) -> str:
    """The accuracies of ``bench/untrained.py`` and its targets as Markdown, with where they were measured."""
    results, default = document["results"], timed_on(document["machine"])
    there = [name for name in {**ACCURACY, **AGREEMENT} if name in results]
    lines = [_line(name, method, results[name]) for name in there for method in METHODS if method in results[name]]
    heads = [_head(label) for label in results[there[0]]["fast"]["right"]]
    where = [_judged(name, results[name]) for name in there]
    where.append(_times(results, default))
    text = table(("network", "method", "calibrated on", "float", *heads, "time"), lines)
    others = _others(results) if "others" in results else ""
    return f"{text}\n{' '.join(where)}\n\n{others}{targets(document['targets'])}"


def _head(label: str) -> str:
    return f"{label} bits" if label.isdigit() else label


def _line(name: str, method: str, results: dict[str, Any]) -> tuple[str, ...]:
    found, reference = results[method], f"{results['float']:.2f}" if "float" in results else ""
    right = (f"{value:.2f}" for value in found["right"].values())
    title = {**ACCURACY, **AGREEMENT}[name]
    return (title, METHODS[method], f"{found['images']:,}", reference, *right, f"{found['seconds']:.0f} s")


def _judged(name: str, results: dict[str, Any]) -> str:
    """What was judged of a network."""
    if name in ACCURACY:
        on = f"right answers of the integer program, in percent, on {results['judged']:,} test images of CIFAR-10"
        return f"{ACCURACY[name]}: {on}, after calibration on training images."
    on = f"answers that are the float network's, in percent, on {results['judged']} samples of ImageNet"
    return f"{AGREEMENT[name]}: {on}, after calibration on others."


def _times(results: dict[str, Any], default: str) -> str:
    """Where the times were measured, whose rows say it or are those of ``default``."""
    titles, rows = {**ACCURACY, **AGREEMENT}, dict[str, list[str]]()
    for name in (name for name in titles if name in results):
        for method in (method for method in METHODS if method in results[name]):
            found = rows.setdefault(results[name][method].get("timed_on", default), [])
            found.append(f"{titles[name]} {METHODS[method]}")
    for name, libraries in results.get("others", {}).items():
        for on in {row.get("timed_on", default): None for row in libraries.values()}:
            rows.setdefault(on, []).append(f"{titles[name]} by others")
    if len(rows) == 1:
        return f"The time is that of one core ({next(iter(rows))})."
    return "The time is that of one core (" + "; ".join(f"{', '.join(of)}: {on}" for on, of in rows.items()) + ")."


def _others(results: dict[str, Any]) -> str:
    """What other libraries make of the same networks at 8 bits, beside ours."""
    lines = []
    for name, row in results["others"].items():
        ours = results[name]["fast"]
        lines.append((AGREEMENT[name], "dqt, fast", f"{ours['right']['8']:.2f}", f"{ours['seconds']:.0f} s"))
        for library, found in row.items():
            label = f"{library} {found['version']}"
            lines.append((AGREEMENT[name], label, f"{found['right']:.2f}", f"{found['seconds']:.0f} s"))
    return table(("network", "made by", "8 bits", "time"), lines) + "\n"


def targets(found: list[dict[str, Any]]) -> str:
    """The targets of a record beside what was found."""
    lines = [
        (each["what"], f"{_RELATION[each['relation']]} {each['target']:g}", f"{each['value']:.5g}", _said(each["met"]))
        for each in found
    ]
    return table(("what", "target", "found", ""), lines)


def _said(met: bool) -> str:
    return "met" if met else "**missed**"
