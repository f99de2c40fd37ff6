"""docs/experiments.md, from the recorded JSON alone. Runs nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.common import RESULTS, processor_name
from bench.markdown import table

ROOT = Path(__file__).parent.parent.parent
PAGE, RECORD = ROOT / "docs" / "experiments.md", RESULTS / "operators.json"

HEAD = """# Experiments on the operators

What a shift costs, what integer arithmetic costs, what the power-of-two rule costs. This page is written by `python -m
bench.operators page` from `bench/results/operators.json` and from nothing else; `python -m bench.operators` measures.
Notation and facts are those of [numerics](numerics.md); what training makes of the low widths stands in
[results](results.md).
"""
EXACT = """
## A shift against quantizing anew

What is equal, over every master code, master widths n of 2 to 8 and every pair b < k <= n, parities of the two
midpoints included. Real values u, in master steps, lie on a grid of eighths, ends of bins and (for weights) ties of the
rounding to n bits among them. The quantizers of b bits see u alone, no n-bit code; their thresholds lie half a master
step below those of floor(u / 2^(n-b)) for weights, and of u / 2^(n-b) rounded half up for activations.
"""
COSTS = """
What is not equal is how well a code stands for the real value: the shifted code rounds twice, and its level is an
integer of the master's, not the bin's centre. |error| in steps of the shift's b bits, as mean / root mean square /
largest, over {values:,} values with an 8-bit master:

- *shift*: quantized to 8 bits, then narrowed, as the library does it;
- *anew*: the real value quantized at b bits with the shift's step, weights at the centre of their bins (mid-rise),
  activations at the nearest level;
- *free*: the same with the step of least squared error for this width, which is no power of two times the master's; in
  brackets that step over the shift's. Its mean |error| may be the larger: squared errors choose it.

Uniform values fill the master's range. Gaussian ones (activations: their magnitudes) have the clip of least squared
error at 5 bits, as `calibrate` chooses it; the largest error is that of the value that saturates most.
"""
INTEGER = """
## Integer operators against real ones

How far the integer result lies from the real one in output steps, before the clamp, for (+), (x) and requantization
as the interpreter runs them (`dqt.arith`): {draws:,} sets of random steps and zero points by width, {codes:,} pairs of
random codes each (dot products: {dots}, of {taps[0]} to {taps[1]:,} taps), 8-bit masters narrowed to b bits. The bound
is that of [fact 7](numerics.md#4-adding-and-multiplying-codes) and [fact 6](numerics.md#3-requantization), its largest
value among the results; *largest / bound* sets each result against its own; the last column counts the results that
are not the real one rounded half up.
"""
ABLATION = """
## The power-of-two rule, ablated

**Post-training, weights alone.** CIFAR ResNet-20, no training, no bias correction: a copy of the float model takes the
values that the weights' codes stand for; activations and arithmetic stay float. First and last layer have 8 bits
throughout. For every way and width the batch norm statistics are taken anew on {statistics_images:,} augmented
training images; two numbers in a cell are two sets of such images. Top-1, in percent, on all {images:,} test images:

- *shift*: the rule as it is, one 8-bit master for each output channel, whose clip is that of {mse}
  (as `calibrate` chooses it) or the {max};
- *saturated*: still shifts alone, but a width may clip to 2^-e of the master's range, e of 0 to 2 by layer and width,
  the one of least squared error of the layer's weights (no data is read for it; b + e <= 8);
- *free*: not shift-only. Each output channel has at each width the step of least squared error. No other step of these
  levels fits the weights better in that sense; accuracy need not follow.

"""
TITLES = {
    "shift, mse": "shift",
    "saturated, mse": "saturated",
    "shift, max": "shift, largest magnitude",
    "saturated, max": "saturated, largest magnitude",
    "free": "free",
}
NAMES = {"add": "(+)", "multiply": "(x)", "requantize": "requantization"}


def write() -> None:
    """Write the page."""
    PAGE.write_text(page(json.loads(RECORD.read_text())))
    print(f"wrote {PAGE.relative_to(ROOT)}")


def page(document: dict[str, Any]) -> str:
    """The page as Markdown."""
    settings, results, machine = (document[name] for name in ("settings", "results", "machine"))
    ablation = results["ablation"]
    chosen = settings["ablation"]
    parts = [
        HEAD,
        EXACT,
        facts(results["shift"]["exact"]),
        COSTS.format(values=settings["shift"]["values"]),
        *(costs(entry) for entry in results["shift"]["errors"]),
        INTEGER.format(**settings["integer"]),
        integers(results["integer"]),
        ABLATION.format(images=ablation["test_images"], **chosen["clips"], **chosen),
        ways(ablation, "top1"),
        again(ablation),
        "Squared error of the inner layers' weights over their squares, mean over the layers, in percent:\n",
        ways(ablation, "relative_squared_error"),
        "Inner layers that chose e = 0, 1, 2:\n",
        ways(ablation, "layers_by_e"),
        where(machine),
    ]
    return "\n".join(part.strip("\n") + "\n" for part in parts)


def where(machine: dict[str, Any]) -> str:
    """On what it was measured."""
    torch = machine["versions"]["torch"]
    return f"Measured {machine['date']} on {processor_name(machine)}, {machine['system']}, torch {torch}.\n"


def facts(found: Sequence[dict[str, Any]]) -> str:
    """What is exact."""
    rows = ([f["fact"], f"{f['cases']:,}", f"{f['mismatches']:,}"] for f in found)
    return table(("fact", "cases", "mismatches"), rows)


def costs(entry: dict[str, Any]) -> str:
    """The errors of one rule on one kind of values."""
    title = f"{entry['rule'].capitalize()}, {entry['values']} values".replace("gaussian", "Gaussian")
    rows = [[b, *(cost(row[way]) for way in ("shift", "anew", "free"))] for b, row in entry["widths"].items()]
    return f"{title}:\n\n" + table(("bits", "shift", "anew", "free"), rows)


def cost(found: dict[str, float]) -> str:
    """Mean, root mean square and largest error of one way."""
    step = f" ({found['step']:.2f})" if "step" in found else ""
    return " / ".join(f"{found[name]:.3f}" for name in ("mean", "rms", "largest")) + step


def integers(found: dict[str, Any]) -> str:
    """The distribution of errors by operator and width."""
    points = ("mean", "50 %", "95 %", "99 %", "largest")
    heads = ("operator", "bits", *points, "bound", "largest / bound", "not the rounded")
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
    return (
        f"The float model has {found['float_top1']:.2f}, and {anew} with its statistics taken anew in the same way.\n"
    )
