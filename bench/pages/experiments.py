"""The tables of docs/experiments.md."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from bench.common import RESULTS, processor_name
from bench.markdown import table

TITLES = {
    "shift, mse": "shift",
    "saturated, mse": "saturated",
    "shift, max": "shift, largest magnitude",
    "saturated, max": "saturated, largest magnitude",
    "free": "free",
}
NAMES = {"add": "(+)", "multiply": "(x)", "requantize": "requantization"}


def blocks() -> dict[str, str]:
    """Name of each block of the page -> its content."""
    document = json.loads((RESULTS / "operators.json").read_text())
    settings, results = document["settings"], document["results"]
    ablation = results["ablation"]
    return {
        "exact": facts(results["shift"]["exact"]),
        "costs": "\n".join(costs(entry, settings["shift"]["values"]) for entry in results["shift"]["errors"]),
        "integer": drawn(settings["integer"]) + integers(results["integer"]),
        "top1": of_images(ablation, settings["ablation"]) + ways(ablation, "top1") + "\n" + again(ablation),
        "errors": ways(ablation, "relative_squared_error"),
        "saturation": ways(ablation, "layers_by_e"),
        "machine": where(document["machine"]),
    }


def drawn(settings: dict[str, Any]) -> str:
    """How many cases there are."""
    few, many = settings["taps"]
    return (
        f"For each width: {settings['draws']:,} draws of random scales and zero points; for each draw "
        f"{settings['codes']:,} pairs of random codes, or {settings['dots']} dot products of {few} to "
        f"{many:,} products.\n\n"
    )


def of_images(ablation: dict[str, Any], settings: dict[str, Any]) -> str:
    """On what the accuracies were measured."""
    return (
        f"Top-1 in percent on all {ablation['test_images']:,} test images. Batch norm statistics: from "
        f"{settings['statistics_images']:,} augmented training images; a cell holds one number for each of "
        f"{settings['statistics_sets']} such sets.\n\n"
    )


def where(machine: dict[str, Any]) -> str:
    """On what it was measured."""
    torch = machine["versions"]["torch"]
    return f"Measured {machine['date']} on {processor_name(machine)}, {machine['system']}, torch {torch}.\n"


def facts(found: Sequence[dict[str, Any]]) -> str:
    """What is exact."""
    rows = ([f["fact"], f"{f['cases']:,}", f"{f['mismatches']:,}"] for f in found)
    return table(("fact", "cases", "mismatches"), rows)


def costs(entry: dict[str, Any], count: int) -> str:
    """The errors of one rule on one kind of values."""
    title = f"{entry['rule'].capitalize()}, {count:,} {entry['values']} values".replace("gaussian", "Gaussian")
    rows = [[b, *(cost(row[way]) for way in ("shift", "anew", "free"))] for b, row in entry["widths"].items()]
    return f"{title}:\n\n" + table(("bits", "shift", "again", "free"), rows)


def cost(found: dict[str, float]) -> str:
    """Mean, root mean square and largest error of one way."""
    step = f" ({found['step']:.2f})" if "step" in found else ""
    return " / ".join(f"{found[name]:.3f}" for name in ("mean", "rms", "largest")) + step


def integers(found: dict[str, Any]) -> str:
    """The distribution of errors by operator and width."""
    points = ("mean", "50 %", "95 %", "99 %", "largest")
    heads = ("operator", "bits", *points, "bound", "largest / bound", "not equal")
    rows = []
    for name, widths in found.items():
        for b, row in widths.items():
            at = row["percentiles"]
            cells = [f"{row['mean']:.4f}", *(f"{at[p]:.4f}" for p in ("50", "95", "99")), f"{at['100']:.7f}"]
            share = f"{row['largest_share_of_bound']:.7f}"
            differ = f"{row['not_the_rounded_real']} of {row['results']:,}"
            rows.append([NAMES[name], b, *cells, f"{row['largest_bound']:.7f}", share, differ])
    return table(heads, rows)


def ways(found: dict[str, Any], what: str) -> str:
    """One measure of the ablation: a row for each way that has it, a column for each width."""
    widths = found["widths"]
    rows = []
    for way, title in TITLES.items():
        if all(what in row[way] for row in widths.values()):
            rows.append([title, *(cell(row[way][what], what) for row in widths.values())])
    return table(["bits", *widths], rows)


def cell(value: Any, what: str) -> str:
    """One cell of :func:`ways`."""
    if what == "top1":
        return " / ".join(f"{v:.2f}" for v in value)
    if what == "layers_by_e":
        return " / ".join(str(v) for v in value)
    return f"{100 * value:.3g}"


def again(found: dict[str, Any]) -> str:
    """What the statistics alone do."""
    anew = " / ".join(f"{v:.2f}" for v in found["float_top1_statistics_anew"])
    return f"The float model has {found['float_top1']:.2f}, and {anew} with batch norm statistics from the same sets.\n"
