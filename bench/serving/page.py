"""Put the committed numbers of the native engine into docs/kernels.md. Runs nothing.

python -m bench.serving.page
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.common import RESULTS
from bench.markdown import filled, table

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "kernels.md"
MARK = "serving"
PARTS = {
    "engine": "Latency, one thread",
    "serving_widths": "Time and energy by width",
    "serving_layers": "Where the time goes",
    "serving_threads": "Two threads",
    "serving_plans": "Another plan in every run",
    "serving_auto": "A batch whose samples choose",
    "serving_memory": "Memory",
    "serving_avx2": "AVX2 alone",
}
CONTESTANTS = (("dqt", "8"), ("dqt", "4"), ("dqt", "2"), ("openvino", "8"), ("onnxruntime", "8"), ("litert", "8"))
LATENCY = ("ms", "batch", "8 bits", "4", "2", "OpenVINO int8", "ONNX Runtime int8", "LiteRT int8", "8 bits / fastest")
NO_ENERGY = "This machine shows no counter of energy; where one does, a row has the millijoules of a run."
OTHERS = {"as it is": "as they are", "limited": "limited to AVX2"}
AGREEMENT = "share of top-1"
"""Not a matter of speed: it says that peers ran the same network, and is only checked."""


def main() -> None:
    """Rewrite the block of the page."""
    PAGE.write_text(filled(PAGE.read_text(), MARK, text()))


def text() -> str:
    """Every part that was measured: its targets, and a table of its own where it has one."""
    tables = {
        "engine": _latency,
        "serving_widths": _widths,
        "serving_layers": _layers,
        "serving_plans": _others,
        "serving_threads": _threads,
        "serving_avx2": _avx2,
    }
    blocks = []
    for name, title in PARTS.items():
        path = RESULTS / f"{name}.json"
        if not path.exists():
            continue
        document = json.loads(path.read_text())
        own = [tables[name](document["results"])] if name in tables else []
        aims = [_targets(document["targets"])] if document["targets"] else []
        blocks += [f"### {title}", *own, *aims, _where(name, document["machine"])]
    return "\n" + "\n\n".join(block.rstrip("\n") for block in blocks) + "\n\n"


def _targets(targets: list[dict[str, Any]]) -> str:
    bound = {"<=": "at most", ">=": "at least"}
    rows = []
    for each in targets:
        if AGREEMENT in each["what"]:
            continue
        wanted = f"{bound[each['relation']]} {each['target']:g}"
        rows.append((each["what"], f"{each['value']:.4g}", wanted, "met" if each["met"] else "**missed**"))
    return table(("target", "measured", "wanted", ""), rows)


def _latency(results: dict[str, Any]) -> str:
    """Milliseconds by network and batch."""
    rows = []
    for name, found in results.items():
        for batch, ratios in found["medians"].items():
            here = [row for row in found["rows"] if str(row["batch"]) == batch]
            times = {(row["engine"], row["bits"]): f"{row['ms']['median']:.3g}" for row in here}
            cells = [times.get(each, "") for each in CONTESTANTS]
            rows.append((name, batch, *cells, f"{ratios.get('dqt at 8 / fastest peer', 0):.2f}"))
    return table(LATENCY, rows)


def _widths(results: dict[str, Any]) -> str:
    """Milliseconds, and beside BitOPs what each width takes of the time (and energy) of 8 bits."""
    widths = list(next(iter(results.values())))
    rows = []
    for name, found in results.items():
        rows += [
            (name, "ms", *(f"{found[b]['ms']['median']:.3g}" for b in widths)),
            ("", "time, % of 8 bits", *(f"{100 * found[b]['of_8']['median']:.0f}" for b in widths)),
            ("", "BitOPs, % of 8 bits", *(f"{100 * found[b]['bitops']:.0f}" for b in widths)),
        ]
        if all(found[b]["mj"] for b in widths):
            rows.append(("", "mJ", *(f"{found[b]['mj']:.3g}" for b in widths)))
    shown = any(each["mj"] for found in results.values() for each in found.values())
    note = "" if shown else f"\n{NO_ENERGY}\n"
    return table(("", "", *(f"{b} bits" for b in widths)), rows, left=2) + note


def _layers(results: dict[str, Any]) -> str:
    """Share of the run, and in brackets of the peak, by kind of layer; a column for each width."""
    networks: dict[str, dict[str, dict[str, Any]]] = {}
    for label, found in results.items():
        name, bits = label.split(" at ")
        for kind, each in found["kinds"].items():
            networks.setdefault(name, {}).setdefault(kind, {})[bits] = each
    rows = [
        (name, kind, *(_share(found.get(bits)) for bits in ("8", "4", "2")))
        for name, kinds in networks.items()
        for kind, found in kinds.items()
    ]
    peak = f"The peak was {min(found['peak'] for found in results.values()):.0f} GMAC/s at least."
    return table(("ms (of the peak)", "kind, kernel", "8 bits", "4", "2"), rows) + "\n" + peak


def _share(each: dict[str, Any] | None) -> str:
    if each is None:
        return ""
    return f"{each['ms']:.3g}" + (f" ({each['of_peak']:.0%})" if each["of_peak"] else "")


def _threads(results: dict[str, Any]) -> str:
    """Speed-ups beside what the machine gives."""
    rows = [
        (
            name, *(f"{each[label]['median']:.3g}" for label in ("one", "two")),
            *(f"{each[label]['median']:.2f}" for label in ("speedup", "ceiling")),
        )
        for name, each in results.items()
    ]  # fmt: skip
    return table(("ms", "1 thread", "2 threads", "times faster", "two single runs side by side"), rows)


def _others(results: dict[str, Any]) -> str:
    """What the change costs here, and what it costs those who rewrite weights."""
    others = results["others"]
    run = others["a run at 8 bits"]["median"]
    change = max(results["resnet50"][each]["difference_ms"]["median"] for each in ("to 8", "to 4"))
    rows = [("dqt: a mask as weights are loaded, the next run's excess", f"{change:.3f}", f"{change / run:.2%}")]
    rows += [(label, f"{each['median']:.3g}", f"{each['median'] / run:.0%}") for label, each in others.items()]
    return table(("every weight of ResNet-50 from 8 bits to 4", "ms", "of a run at 8 bits"), rows)


def _avx2(results: dict[str, Any]) -> str:
    """Milliseconds, and over ours in the same round."""
    rows = []
    for name, found in results.items():
        for label, ms in found["ms"].items():
            over = found.get(f"{label} / dqt", {"median": 1.0})["median"]
            rows.append((f"{label}; others {OTHERS[name]}", f"{ms['median']:.3g}", f"{over:.2f}"))
    return table(("ResNet-50", "ms", "over dqt's"), rows)


def _where(name: str, machine: dict[str, Any]) -> str:
    processor = machine["processor"].partition(", avx")[0]
    return f"{processor}, {machine['date']}; [{name}.json](../bench/results/{name}.json)"


if __name__ == "__main__":
    main()
