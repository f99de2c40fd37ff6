"""The tables of docs/guide/microcontroller.md."""

from __future__ import annotations

import json
from typing import Any

from bench.common import processor_name, records_of
from bench.markdown import table

NAMES = {
    "resnet8": "ResNet-8", "keywords": "DS-CNN, keywords", "anomalies": "autoencoder, anomalies",
    "resnet20": "ResNet-20",
}  # fmt: skip
CORES = {"cortex-m4": "Cortex-M4", "cortex-m55": "Cortex-M55"}
KIB = 1024


def blocks() -> dict[str, str]:
    """Name of each block of the page -> its content, of the newest record: instructions are counted, not timed."""
    records = [json.loads(path.read_text()) for path in records_of("tiny")]
    document = max(records, key=lambda record: str(record["machine"]["date"]))
    rows = document["results"]
    tools = document["settings"]["tools"]
    made = f"{tools['arm-none-eabi-gcc']}, -O2; {tools['qemu-system-arm']}, one sample; bench/tiny"
    return {
        "sizes": f"{sizes(rows)}\n{made}. {targets(document['targets'])}\n",
        "accuracy": accuracy(rows["resnet8"]["accuracy"]),
        "peer": f"{peer(rows)}\n{_where(document)}.\n",
    }


def _where(document: dict[str, Any]) -> str:
    peers = document["settings"]["peers"]
    return f"x86-64, gcc -O2, callgrind; tflite-micro {peers['tflite-micro']}; {processor_name(document['machine'])}"


def sizes(rows: dict[str, Any]) -> str:
    """Flash and RAM, and millions of instructions by width on each core."""
    heads = ("network", "widths", "weights", "flash, KiB", "RAM, KiB", *(f"{core}, million" for core in CORES.values()))
    lines = []
    for name, network in rows.items():
        label, found = NAMES[name], network["firmware"]
        for widths in ("all", "8", "4", "2"):
            row = found["cortex-m4"][widths]
            counts = (_millions(found[core].get(widths, {}).get("instructions", {})) for core in CORES)
            shown = "all (at 8, 4, 2 bits)" if widths == "all" else widths
            lines.append((label, shown, f"{row['weights']:,}", _kib(row["flash"]), _kib(row["ram"]), *counts))
    return table(heads, lines, left=2)


def targets(found: list[dict[str, Any]]) -> str:
    """ResNet-20's flash and RAM beside what they may be."""
    flash, ram = (
        next(row for row in found if row["what"].startswith(what)) for what in ("ResNet-20, every", "ResNet-20: RAM")
    )
    return (
        f"ResNet-20 with every width takes, beside its weights, {flash['value']:,} bytes of flash "
        f"(aim: {flash['target']:,}); "
        f"its RAM is {ram['value']:.2f} of its two largest values (aim: {ram['target']})."
    )


def _millions(instructions: dict[str, int]) -> str:
    return ", ".join(f"{count / 1e6:.1f}" for count in instructions.values())


def _kib(count: int) -> str:
    return f"{count / KIB:.1f}"


def accuracy(found: dict[str, float]) -> str:
    """Top-1 of ResNet-8."""
    heads = (
        "ResNet-8, CIFAR-10 test, top-1 %",
        "float",
        "its int8 file, LiteRT",
        *(f"{b} bits" for b in range(8, 1, -1)),
    )
    numbers = (found["float"], found["litert int8"], *(found[str(b)] for b in range(8, 1, -1)))
    return table(heads, [("", *(f"{number:.2f}" for number in numbers))])


def peer(rows: dict[str, Any]) -> str:
    """Beside TensorFlow Lite Micro."""
    heads = ("network", "8 bits, million", "TFLite Micro, million", "ratio", "RAM, KiB", "its arena, KiB")
    lines = []
    for name, row in rows.items():
        if "tflite_micro" in row:
            here, other = row["host"], row["tflite_micro"]
            counts = (f"{count / 1e6:.1f}" for count in (here, other["instructions"]))
            ram, ratio = row["firmware"]["cortex-m4"]["all"]["ram"], f"{here / other['instructions']:.2f}"
            lines.append((NAMES[name], *counts, ratio, _kib(ram), _kib(other["arena"])))
    return table(heads, lines)
