"""The tables of README.md, and its pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.common import REPORT, RESULTS, timed_on
from bench.evidence import records
from bench.evidence.records import Point
from bench.markdown import table
from bench.pages import peers
from bench.pages.pictures import draw_front
from bench.pages.targets import AT_3_BITS, BASE, SHIPPED_SEED, dearest

IMAGES = Path(__file__).parents[2] / "docs" / "images"
FRONT, PICTURE = IMAGES / "cifar10-trained.svg", IMAGES / "cifar10-ptq.png"
NETWORKS = {
    "resnet18": "ResNet-18",
    "resnet50": "ResNet-50",
    "mobilenet_v2": "MobileNetV2",
    "resnet20": "ResNet-20, 32x32",
}
RIVALS = {"openvino": "OpenVINO", "onnxruntime": "ONNX Runtime", "litert": "LiteRT"}


def blocks() -> dict[str, str]:
    """Name of each block of the page -> its content."""
    return {"trained": trained(), "cifar10_ptq": accuracy(), "engine": speed()}


def draw() -> None:
    """The pictures: the trained network, and the one without training."""
    from dqt.report.plots import save_picture
    from dqt.report.results import load_results

    PICTURE.parent.mkdir(exist_ok=True)
    untrained = load_results(RESULTS / REPORT)
    save_picture(untrained, PICTURE)
    points = [
        Point(label=row.label, kind="uniform", bits=row.bits, accuracy=row.score, share=row.share)
        for row in untrained.rows
        if row.kind == "uniform"
    ]
    draw_front(records.load(records.path_of(BASE, SHIPPED_SEED)), points, float_accuracy(), FRONT)


def float_accuracy() -> float:
    """Top-1, in percent, of the float network from which everything starts."""
    return float(untrained()["results"]["float_top1"])


def untrained() -> dict[str, Any]:
    """The newest record of ``bench/cifar10_ptq.py``: no processor changes its accuracies."""
    found: list[dict[str, Any]] = [json.loads(path.read_text()) for path in RESULTS.glob("cifar10_ptq*.json")
                                   if path.name != REPORT]  # fmt: skip
    return max(found, key=lambda document: str(document["machine"]["date"]))


def accuracy() -> str:
    """The results of ``bench/cifar10_ptq.py`` as Markdown, with where they were measured."""
    document = untrained()
    results = document["results"]
    rows = results["widths"]
    lines = [
        ("top-1, %", f"{results['float_top1']:.2f}", *(f"{row['top1_integer']:.2f}" for row in rows.values())),
        ("BitOPs, % of 8 bits", "", *(f"{100 * row['share']:.1f}" for row in rows.values())),
    ]
    if "other_calibration_sets" in results:
        lines.insert(1, ("other calibration sets", "", *(between(results, b) for b in rows)))
    return table(("bits", "float", *rows), lines) + "\n" + where(document) + "\n"


def trained() -> str:
    """The trained network of the evidence, at every width and as a cascade at the BitOPs of 3 bits, as Markdown."""
    record = records.load(records.path_of(BASE, SHIPPED_SEED))
    points = sorted(record.of("uniform"), key=lambda point: -point.share)
    three = record.uniform(3)
    cascade = dearest(record.of("cascade"), three.share) if three else None
    assert cascade is not None
    every = [*points, cascade]
    lines = [
        ("top-1, %", f"{float_accuracy():.2f}", *(f"{100 * point.accuracy:.2f}" for point in every)),
        ("BitOPs, % of 8 bits", "", *(f"{100 * point.share:.1f}" for point in every)),
    ]
    widths = ", ".join(str(b) for b in cascade.widths or ())
    sizes = record.program_bytes, records.load(records.path_of(AT_3_BITS, 0)).program_bytes
    one, controlled = (f"{size / 1000:.0f} kB" for size in sizes)
    said = f"All widths are in one file of {one}, or of {controlled} with a controller (`dqt.example()`)."
    return table(("bits", "float", *(str(point.bits) for point in points), f"cascade {widths}"), lines) + f"\n{said}\n"


def speed() -> str:
    """The results of ``bench/engine.py`` at batch 1: our own times, and those of others over ours at 8 bits; with AVX2
    alone those of ``bench/serving/avx2.py``.
    """
    document = json.loads((RESULTS / "engine.json").read_text())
    lines = []
    for key, name in NETWORKS.items():
        rows = {(row["engine"], row["bits"]): row for row in document["results"][key]["rows"] if row["batch"] == 1}
        others = [("dqt", "4"), ("dqt", "2"), *((rival, "8") for rival in RIVALS)]
        ratios = [f"{rows[each]['ratio']['median']:.2f}x" for each in others]
        lines.append((name, f"{rows['dqt', '8']['ms']['median']:.3g} ms", *ratios))
    lines.append(avx2())
    heads = ("one image, one thread", "dqt, 8 bits", "4 bits", "2 bits", *(f"{name} int8" for name in RIVALS.values()))
    machine = document["machine"]
    where = timed_on(machine)
    said = f"Medians. The engines of a row ran the same weights on the same core, in turns ({where})."
    return "\n".join([*peers.front(), table(heads, lines), said]) + "\n"


def avx2() -> tuple[str, ...]:
    """The row of ``bench/serving/avx2.py``: everything limited to AVX2, of others what can be."""
    found = json.loads((RESULTS / "serving_avx2.json").read_text())["results"]["limited"]
    over = (found.get(f"{name} / dqt") for name in ("dqt, 4 bits", "dqt, 2 bits", "OpenVINO, 8 bits"))
    ratios = [f"{each['median']:.2f}x" if each else "" for each in over]
    return ("ResNet-50, AVX2 alone", f"{found['ms']['dqt']['median']:.3g} ms", *ratios, "", "")


def between(results: dict[str, Any], b: str) -> str:
    """The range of top-1 over the other calibration sets, in hundredths of a percent."""
    found = [each["top1_integer"][b] for each in results["other_calibration_sets"]]
    return f"{min(found):.2f} to {max(found):.2f}" if min(found) < max(found) else f"{found[0]:.2f}"


def where(document: dict[str, Any]) -> str:
    """What was measured, on what."""
    results, settings, machine = (document[name] for name in ("results", "settings", "machine"))
    rows = results["widths"].values()
    images = settings["test_images"]
    slowest = max(row["interpret_seconds"] for row in rows)
    agreeing = round(images * min(row["top1_agreement"] for row in rows) / 100)
    count = f"all {images:,}" if agreeing == images else f"at least {agreeing:,} of {images:,}"
    sets = len(results.get("other_calibration_sets", ()))
    other = f" The second row has the range over {sets} other sets of calibration images." if sets else ""
    return (
        f"Accuracy of the integer program on all {images:,} test images; one file of "
        f"{results['program_bytes'] / 1000:.0f} kB for all widths. Calibration on {settings['calibration_images']} "
        f"training images took {results['calibration_seconds']:.0f} s, `dqt.interpret` at most {slowest:.0f} s "
        f"for the test set at one width ({machine['cores']} cores of {timed_on(machine)})."
        f"{other} The network in fake quantization and the program agree on {count} predictions at every "
        "width; `net(x, plan, exact=True)` has the integers of the program."
    )
