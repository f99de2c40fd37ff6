"""Exported C of the MLPerf Tiny networks and of ResNet-20: accuracy, flash, RAM and instructions by width.

It needs Debian's gcc-arm-none-eabi, libnewlib-arm-none-eabi, qemu-system-arm and valgrind, and from PyPI ai-edge-litert
and tflite-micro. ``--data`` holds the folder ``mlperf-tiny`` with the files of github.com/mlcommons/tiny, too.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.common import Check, parser, write
from bench.tiny.accuracy import by_width
from bench.tiny.networks import CALIBRATION, INT8, NAMES, network
from bench.tiny.sizes import call, firmware, host, peer, two_largest
from dqt.arith.files import write_file
from dqt.testing.cortex import COMPILER, EMULATOR

ROOM = 48 * 1024


def main() -> None:
    """Measure, print, write."""
    options = parser(__doc__, data=True)
    options.add_argument(
        "--keep", type=Path, help="folder of programs and of finished parts: a later run goes on there"
    )
    options.add_argument("--networks", nargs="+", choices=NAMES, default=NAMES, help="default: all")
    arguments = options.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = arguments.keep or Path(made)
        results = {name: measured(name, arguments.data, folder) for name in arguments.networks}
    write("tiny", settings=settings(), results=results, checks=checks(results))


def measured(name: str, data: Path, folder: Path) -> dict[str, Any]:
    """What is measured of a network; each part is written to ``folder`` when it is done."""
    program, path = network(name, data, folder), folder / f"{name}.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"two_largest": two_largest(program)}
    parts: dict[str, Callable[[], Any]] = {"firmware": lambda: firmware(program)}
    if name in INT8:
        parts["host"] = lambda: host(program)
        parts["tflite_micro"] = lambda: peer(name, data)
    if name == "resnet8":
        parts["accuracy"] = lambda: by_width(program, data)
    for part, measure in parts.items():
        if part not in found:
            found[part] = measure()
            write_file(path, json.dumps(found))
            print(name, part, found[part], flush=True)
    return found


def settings() -> dict[str, Any]:
    """What decides the numbers."""
    tools = {tool: call(tool, "--version").splitlines()[0] for tool in (COMPILER, EMULATOR, "gcc", "valgrind")}
    peers = {name: version(name) for name in ("tflite-micro", "ai-edge-litert")}
    return {"calibration_images": CALIBRATION, "flags": "-O2", "tools": tools, "peers": peers}


def checks(results: dict[str, Any]) -> list[Check]:
    """Numbers beside their targets."""
    found: list[Check] = []
    if "resnet20" in results:
        rows, room = results["resnet20"]["firmware"]["cortex-m4"]["all"], results["resnet20"]["two_largest"]
        found += [
            Check("ResNet-20, every width: flash less weights, bytes", rows["flash"] - rows["weights"], "<=", ROOM),
            Check("ResNet-20: RAM over the two largest values", rows["ram"] / room, "<=", 1.25),
        ]
    if "resnet8" in results:
        small = results["resnet8"]
        ratio = small["host"] / small["tflite_micro"]["instructions"]
        found += [
            Check("ResNet-8: instructions over TFLite Micro's", ratio, "<=", 1.0),
            Check("ResNet-8: instructions at 2 bits over 8, Cortex-M4", _two_over_eight(small), "<=", 0.75),
        ]
    return found


def _two_over_eight(rows: dict[str, Any]) -> float:
    target = rows["firmware"]["cortex-m4"]
    return float(target["2"]["instructions"]["2"] / target["8"]["instructions"]["8"])


if __name__ == "__main__":
    main()
