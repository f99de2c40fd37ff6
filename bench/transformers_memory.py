"""Resident memory that one engine takes at its peak, from loading a network to the end of a first run.

    python -m bench.transformers_memory ENGINE MODEL INPUT

What importing the engine takes is not counted. Prints bytes, or null where the engine refuses the model.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.resident import forget_peak, status


def dqt(path: Path, x: npt.NDArray[Any]) -> None:
    """Load and run at 8 bits."""
    from dqt.runtime import Runtime

    Runtime(str(path), threads=1)(x, 8)


def onnxruntime(path: Path, x: npt.NDArray[Any]) -> None:
    """Load and run."""
    from bench.transformers_peers import onnxruntime as bind

    bind(path, x)()


def openvino(path: Path, x: npt.NDArray[Any]) -> None:
    """Load and run."""
    from bench.transformers_peers import openvino as bind

    bind(path, x)()


ENGINES: dict[str, Callable[[Path, npt.NDArray[Any]], None]] = {
    "dqt": dqt, "onnxruntime": onnxruntime, "openvino": openvino,
}  # fmt: skip


def main() -> None:
    """Import, note, run, note."""
    engine, path, given = sys.argv[1:]
    x = np.load(given)
    __import__(engine if engine != "dqt" else "dqt.runtime")
    forget_peak()
    before = status("VmRSS")
    try:
        ENGINES[engine](Path(path), x)
    except Exception:  # each engine has errors of its own
        print("null")
        return
    print(json.dumps(status("VmHWM") - before))


if __name__ == "__main__":
    main()
