"""The tables of this engine beside others, one set for each kind of processor: for docs/kernels.md and README.md."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from bench.common import processor_name, records_of
from bench.markdown import table
from bench.peers.engines import EXACT, LITERT, ONNXRUNTIME, OPENVINO

BITS = ("8", "6", "4", "3", "2")
ENGINES = (OPENVINO, ONNXRUNTIME, EXACT, LITERT)
HEADS = ("OpenVINO int8", "ONNX Runtime int8", "the same, x64quantprecision", "LiteRT int8")
WHOLE = (EXACT, LITERT)
"""Engines that add no products with saturation."""
SLOWER = " †"
SAID = (
    "† not faster than the next wider width, or only within the spread of the measurement. An empty cell: the engine\n"
    "has no form of this network. Of several forms of a network the fastest is shown."
)
TITLES = {
    "resnet18": "ResNet-18", "resnet50": "ResNet-50", "mobilenet_v2": "MobileNetV2", "resnet20": "ResNet-20, 32x32",
    "mobilenet_v3_large": "MobileNetV3-Large", "efficientnet_lite0": "EfficientNet-Lite0", "vit_small": "ViT-S/16",
    "minilm": "MiniLM, 128 tokens",
}  # fmt: skip
FASTER = 0.995
"""Below it a width is faster than the next wider one."""


def documents() -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and content of the record of each kind of processor."""
    for path in records_of("peers"):
        yield path.stem, json.loads(path.read_text())


def front() -> Iterator[str]:
    """For README.md: one image, each time over ours at 8 bits, and how often the answer is the exact one."""
    for _, document in documents():
        results = document["results"]
        rows = [_front(key.split()[0], row, results) for key, row in results["times"].items() if key.endswith(" 1")]
        heads = (f"one sample, one thread, {_sets(results)}", "dqt, 8 bits", *(f"{b} bits" for b in BITS[1:]), *HEADS)
        machine = document["machine"]
        yield f"{table(heads, rows)}\n{_where(machine)}. In brackets how often the answer is the exact one.\n"


def _front(name: str, row: dict[str, Any], results: dict[str, Any]) -> tuple[str, ...]:
    agreed = results["agreement"].get(name, {})
    ours = [f"{row['of_8'][b]['median']:.2f}x" for b in BITS[1:]]
    others = [_over(row, engine, agreed) for engine in ENGINES]
    return (TITLES[name], f"{row['ms']['8']['median']:.3g} ms", *ours, *others)


def _over(row: dict[str, Any], engine: str, agreed: dict[str, Any]) -> str:
    if engine not in row["of_8"]:
        return ""
    same = f" ({agreed[engine]['same']:.0%})" if engine in agreed else ""
    return f"{row['of_8'][engine]['median']:.2f}x{same}"


def text(results: dict[str, Any]) -> str:
    """For docs/kernels.md: everything that was measured on one kind of processor."""
    parts = (latency(results), agreement(results), starts(results), products(results))
    return "\n".join(part for part in parts if part)


def latency(results: dict[str, Any]) -> str:
    """Milliseconds by network and batch."""
    rows = []
    for key, row in results["times"].items():
        name, batch = key.split()
        ours = [f"{row['ms'][b]['median']:.3g}{_mark(row, b)}" for b in BITS]
        others = [f"{row['ms'][e]['median']:.3g}" if e in row["ms"] else "" for e in ENGINES]
        rows.append((TITLES[name], batch, *ours, *others, _best(row, ENGINES), _best(row, WHOLE)))
    heads = (
        f"ms, {_sets(results)}", "batch", "8 bits", *BITS[1:], *HEADS, "8 bits / fastest",
        "8 bits / fastest without saturation",
    )  # fmt: skip
    return table(heads, rows) + "\n" + SAID + "\n" + _loads(results["times"]) if rows else ""


def _mark(row: dict[str, Any], bits: str) -> str:
    """Where a width gains nothing over the next wider one."""
    step = row["of_wider"].get(bits)
    return SLOWER if step and (step["median"] > FASTER or step["p90"] > 1) else ""


def _best(row: dict[str, Any], engines: tuple[str, ...]) -> str:
    over = [row["of_8"][engine]["median"] for engine in engines if engine in row["of_8"]]
    return f"{1 / min(over):.2f}" if over else ""


def _loads(rows: dict[str, Any]) -> str:
    loads = [row["load_average"] for row in rows.values()]
    clocks = sorted({row["clock"] for row in rows.values()})
    return f"In {' and '.join(clocks)} time, at load averages of {min(loads):g} to {max(loads):g}.\n"


def agreement(results: dict[str, Any]) -> str:
    """How often an answer is the exact one."""
    rows = []
    for name, found in results["agreement"].items():
        cells = [f"{found[e]['same']:.1%}" if e in found else "" for e in ("dqt", *ENGINES)]
        exact = "yes" if found["dqt equals the interpreter"] else "**no**"
        share = found["saturating"]
        shares = f"{share['share']:.2%}", f"{share['worst_layer']:.1%}"
        rows.append((TITLES[name], found["weights"], str(found["samples"]), exact, *cells, *shares))
    heads = (
        "same answer as the exact one", "weights", "samples", "dqt equals the interpreter",
        "dqt's and the exact QDQ graph's",
        *HEADS, "sums that saturate", "of the worst layer",
    )  # fmt: skip
    return table(heads, rows, left=2) + "\n" + AGREED if rows else ""


AGREED = (
    "The exact answer is that of the graph that the engine was given, computed without saturation; of MiniLM the\n"
    "answer is the nearest other text, of all others top-1. An engine that does not saturate still rounds elsewhere,\n"
    "so it may differ from that graph by a code now and then. Sums that saturate: those of layers without groups in\n"
    "which, at 8 bits, two neighbouring products leave 16 bits. With random weights many answers are almost ties.\n"
)


def starts(results: dict[str, Any]) -> str:
    """Memory and loading."""
    rows = []
    for name, row in results["memory"].items():
        cells = [f"{row['bytes'][e] / 2**20:.3g}" if e in row["bytes"] else "" for e in ("dqt", *ENGINES)]
        rows.append((f"{TITLES[name]}, MiB at the peak of loading and a first run", *cells))
    for name, row in results["load"].items():
        cells = [f"{row['ms'][e]['median']:.3g}" if e in row["ms"] else "" for e in ("dqt", *ENGINES)]
        rows.append((f"{TITLES[name]}, ms from the file to the first answer", *cells))
    return table(("", "dqt, 8 bits", *HEADS), rows) if rows else ""


def products(results: dict[str, Any]) -> str:
    """Products of one row."""
    found = results["products"].get("one row")
    if not found:
        return ""
    names = list(dict.fromkeys(name for bits in ("8", "4", "2") for name in found[bits]["us"]))
    rows = []
    for name in names:
        cells = [f"{found[b]['us'][name]['median']:.0f}" if name in found[b]["us"] else "" for b in ("8", "4", "2")]
        rows.append((name if name.startswith("dqt") else f"MatMulNBits of {name}", *cells))
    return table(("one row by 4096x4096, weights from memory, µs", "8 bits", "4", "2"), rows)


def _sets(results: dict[str, Any]) -> str:
    return ", ".join(sorted({row["isa"] for row in results["times"].values()})) + " kernels"


def _where(machine: dict[str, Any]) -> str:
    family = machine["processor"].partition("(family")[2].partition(")")[0]
    return f"{processor_name(machine)}, family{family}, {machine['date']}"
