"""The tables of docs/kernels.md."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from bench.common import RESULTS, processor_name, records_of
from bench.linear import over_ggml
from bench.markdown import table
from bench.pages import peers

PARTS = {
    "peers": "Beside other engines, one thread",
    "engine": "Latency, one thread",
    "serving_widths": "Time by width",
    "serving_ranges": "Parts of ranges",
    "serving_layers": "Where the time goes",
    "serving_threads": "Two threads",
    "serving_plans": "Another plan in every run",
    "serving_auto": "A batch whose samples choose",
    "serving_memory": "Memory",
    "serving_avx2": "AVX2 alone",
    "transformers": "Transformers, batch 1, one thread",
}
CONTESTANTS = (("dqt", "8"), ("dqt", "4"), ("dqt", "2"), ("openvino", "8"), ("onnxruntime", "8"), ("litert", "8"))
LATENCY = ("ms", "batch", "8 bits", "4", "2", "OpenVINO int8", "ONNX Runtime int8", "LiteRT int8", "8 bits / fastest")
TILES = (
    ("winograd2x2", "up to 4, 6", "2x2", 16 / 36, "[-72, 67]", "[-126, 126], one position [0, 252]"),
    ("winograd2x4", "up to 3, 3", "2x4", 24 / 72, "[-96, 80]", "[-112, 70]"),
    ("winograd3x4", "2, 2", "3x4", 30 / 108, "[-112, 63]", "[-90, 90]"),
)
"""Kernel, bits, outputs of a tile, multiplications over those of the window, intervals of what is transformed."""
TILE, RESNET = (128, 128, 28), ((128, 128, 28), (256, 256, 28), (256, 256, 14), (512, 512, 14), (512, 512, 7))
LOOKUPS = (
    ("kernels", 3, 128, 128, 56), ("kernels", 1, 512, 512, 28), ("kernels", 1, 512, 512, 14),
    ("kernels", 1, 256, 256, 14), ("kernels", 1, 128, 128, 14), ("kernels", 1, 256, 64, 56),
    ("kernels_avx2", 1, 512, 512, 14), ("kernels_avx2", 1, 128, 128, 14),
)  # fmt: skip
"""Record, side of the window, inputs, outputs, height and width of the layers that the table of lookups shows."""
FEW = ("2x2", "2x3", "3x2")
CHOICES = ("kernels_avx512amx", "kernels", "kernels_avx512bw", "kernels_avx2")
"""Records of what the choices of kernels lose, by kernel set."""
PEERS = ("ggml q8_0", "ggml q4_K", "ggml q4_0", "ggml q2_K")
OTHERS = {"as it is": "as they are", "limited": "limited to AVX2"}
BITS, ENGINES = ("8", "6", "4", "3", "2"), ("openvino", "onnxruntime")
FORCED = (
    "In processor time, on a busy machine. Where AVX2 is forced on this processor, OpenVINO's oneDNN is limited\n"
    "to it, and ONNX Runtime left out, because it cannot be. Of an engine's forms in the record the fastest is shown,\n"
    "and the leanest."
)
AGREEMENT = "share of top-1"
"""Not a matter of speed: it says that peers ran the same network, and is only checked."""


def blocks() -> dict[str, str]:
    """Name of each block of the page -> its content."""
    return {"tiles": tiles(), "lookup": lookups(), "choice": choice(), "linear": linear(), "serving": text()}


def _record(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text())
    return document


def _over_block(name: str, pair: str, side: int, inputs: int, outputs: int, size: int) -> list[dict[str, float]]:
    """Times of every kernel over the block kernel's, of one layer at a pair of widths, for each batch."""
    wanted = {"side": side, "inputs": inputs, "outputs": outputs, "size": size}
    shapes = [s for s in _record(name)["results"]["shapes"] if all(s[key] == value for key, value in wanted.items())]
    found = [{key.split()[1]: us for key, us in s["us"].items() if key.split()[0] == pair} for s in shapes]
    return [{kernel: us / each["block"] for kernel, us in each.items()} for each in found]


def tiles() -> str:
    """The tiles of Winograd's transform, with their times."""
    rows = []
    for kernel, bits, outputs, products, weights, inputs in TILES:
        here = _over_block("kernels", "2x2", 3, *TILE)[0][kernel]
        every = [over[kernel] for shape in RESNET for over in _over_block("kernels", "2x2", 3, *shape)]
        time = f"{here:.2f} ({min(every):.2f} to {max(every):.2f})"
        rows.append((bits, outputs, f"{products:.2f}", time, weights, inputs))
    heads = ("bits of weights, activations", "outputs of a tile", "multiplications, direct = 1",
             "time, block kernel = 1", "transformed weights", "transformed inputs")  # fmt: skip
    said = "Times: 128 channels at 28x28; in brackets 3x3 layers of a ResNet of 128 to 512 channels, batches of 1 and 8"
    return table(heads, rows, left=2) + f"\n{said} ({_machine('kernels')}).\n"


def lookups() -> str:
    """Times of the kernels by lookup."""
    rows = []
    for name, side, inputs, outputs, size in LOOKUPS:
        over = [_over_block(name, pair, side, inputs, outputs, size)[0].get("lookup") for pair in FEW]
        channels = str(inputs) if inputs == outputs else f"{inputs} to {outputs}"
        title = f"{'AVX2: ' if name.endswith('avx2') else ''}{side}x{side}, {channels} channels at {size}x{size}"
        rows.append((title, *(f"{each:.2f}" if each else "" for each in over)))
    heads = ("time, block kernel = 1", "2 bits by 2", "weights 2, activations 3", "weights 3, activations 2")
    return table(heads, rows) + f"\nOne image, one thread ({_machine('kernels')}).\n"


def choice() -> str:
    """What the choices of kernels lose."""
    rows = []
    for path in (path for name in CHOICES for path in records_of(name)):
        document = json.loads(path.read_text())
        mean, most = (target["value"] for target in document["targets"])
        shapes = len(document["results"]["shapes"])
        rows.append((document["settings"]["isa"], _machine(path.stem), str(shapes), f"{mean:.1%}", f"{most:.0%}"))
    heads = (
        "time that the chosen kernels lose against the fastest ones",
        "measured on",
        "layer shapes",
        "mean",
        "most",
    )
    return table(heads, rows, left=2)


def linear() -> str:
    """Linear layers of one row, a table for each kind of processor."""
    return "\n".join(_linear(path) for path in records_of("linear"))


def _linear(path: Path) -> str:
    """The table of one record."""
    document = json.loads(path.read_text())
    widths = [f"{b} bits" for b in document["settings"]["widths"]]
    kinds, rows = (*widths, *PEERS), []
    for shape, found in document["results"].items():
        at = [(found[kind]["us"]["median"], found[kind]["gbs"]["median"]) for kind in kinds]
        rows.append((f"{shape}, µs (GB/s)", *(f"{us:.0f} ({gbs:.0f})" for us, gbs in at)))
        times = (found[kind]["times_as_fast_as_8_bits"]["median"] for kind in kinds)
        rows.append(("times as fast as 8 bits", *(f"{each:.2f}" for each in times)))
        over = over_ggml(found)
        rows.append(("time over ggml's at as many bits", *(f"{over[k]:.2f}" if k in over else "" for k in kinds)))
    said = f"bench/linear.py, one thread ({_machine(path.stem)}): the fastest layer of a round, medians of rounds."
    return table(("one row, weights from memory", *kinds), rows) + f"\n{said}\n"


def _machine(name: str) -> str:
    machine = _record(name)["machine"]
    return f"{processor_name(machine)}, {_model(machine)}{machine['date']}"


def _model(machine: dict[str, Any]) -> str:
    found = re.search(r"\((family.*?)\)", machine["processor"])
    return f"{found[1]}, " if found else ""


def text() -> str:
    """Every part that was measured: its targets, and a table of its own where it has one."""
    tables = {
        "peers": peers.text,
        "engine": _latency,
        "serving_widths": _widths,
        "serving_ranges": _ranges,
        "serving_layers": _layers,
        "serving_plans": _others,
        "serving_threads": _threads,
        "serving_avx2": _avx2,
        "transformers": _transformers,
    }
    blocks = []
    for name, title in PARTS.items():
        for path in records_of(name):
            document = json.loads(path.read_text())
            own = [tables[name](document["results"])] if name in tables else []
            aims = [_targets(document["targets"])] if document["targets"] else []
            other = "" if path.stem == name else f", {processor_name(document['machine'])}"
            blocks += [f"### {title}{other}", *own, *aims, _where(path.stem, document["machine"])]
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
    """Milliseconds, and beside BitOPs what each width takes of the time of 8 bits."""
    widths = list(next(iter(results.values())))
    rows = []
    for name, found in results.items():
        rows += [
            (name, "ms", *(f"{found[b]['ms']['median']:.3g}" for b in widths)),
            ("", "time, % of 8 bits", *(f"{100 * found[b]['of_8']['median']:.0f}" for b in widths)),
            ("", "BitOPs, % of 8 bits", *(f"{100 * found[b]['bitops']:.0f}" for b in widths)),
        ]
    return table(("", "", *(f"{b} bits" for b in widths)), rows, left=2)


def _ranges(results: dict[str, Any]) -> str:
    """Milliseconds with whole ranges, and where every layer reads half of each."""
    rows = []
    for name, found in results.items():
        for bits, each in found.items():
            ms = [f"{each['ms'][kind]['median']:.3g}" for kind in ("whole", "half")]
            rows.append((name, bits, *ms, f"{each['ratio']['median']:.2f}"))
    said = (
        "At 8 bits no layer reads a part: by as much as those ratios differ from 1, those of fewer bits may be noise."
    )
    return table(("ms", "bits", "whole ranges", "half of every range", "ratio"), rows, left=2) + "\n" + said


def _layers(results: dict[str, Any]) -> str:
    """Milliseconds, and in brackets the part of the peak, by kind of layer; a column for each width."""
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


def _transformers(results: dict[str, Any]) -> str:
    """Milliseconds by network and kernel set, beside the fastest form of each engine; bytes at the peak of a run."""
    rows = []
    for name, found in results.items():
        for isa in (each for each in found if each != "memory"):
            ms = {label: each["median"] for label, each in found[isa]["ms"].items()}
            best = _fastest(ms)
            ours = [f"{ms[b]:.3g}" for b in BITS]
            over = f"{ms['8'] / min(best.values()):.2f}" if best else ""
            where = isa if isa != "avx2" else "avx2, forced"
            rows.append((name, where, *ours, *(_cell(best, engine) for engine in ENGINES), over))
        peak = {engine: value / 2**20 for engine, value in _fastest(found["memory"]).items()}
        own = found["memory"]["dqt"] / 2**20
        over = f"{own / min(peak.values()):.2f}" if peak else ""
        rows.append(
            (name, "MiB at the peak of a run", f"{own:.3g}", *[""] * 4, *(_cell(peak, e) for e in ENGINES), over)
        )
    heads = ("ms", "kernels", "8 bits", *BITS[1:], "OpenVINO int8", "ONNX Runtime int8", "8 bits / the best other")
    return table(heads, rows, left=2) + "\n" + FORCED


def _cell(found: dict[str, float], engine: str) -> str:
    return f"{found[engine]:.3g}" if engine in found else ""


def _fastest(found: dict[str, float]) -> dict[str, float]:
    """Engine -> the least number of its forms."""
    return {
        engine: min(forms)
        for engine in ENGINES
        if (forms := [value for label, value in found.items() if label.startswith(f"{engine} ")])
    }


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
