"""A fresh process with one engine: resident memory at the peak of a first run, or the time from a file to an answer.

    python -m bench.peers.start memory|load ENGINE MODEL INPUT

What importing the engine takes is not counted. Prints bytes, or seconds of processor on one core; null where the engine
refuses the model.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import numpy as np

from bench.peers import engines
from bench.peers.engines import EXACT, LITERT, MODULES, ONNXRUNTIME, OPENVINO, Array
from bench.resident import forget_peak, status
from dqt.runtime.bench import pinned

OWN = "dqt"


def dqt(path: Path, x: Array) -> None:
    """This engine, at 8 bits."""
    from dqt.runtime import Runtime

    Runtime(str(path), threads=1)(x, 8)


ANSWER: dict[str, Callable[[Path, Array], object]] = {
    OWN: dqt,
    ONNXRUNTIME: lambda path, x: engines.onnxruntime(path, 1)(x),
    EXACT: lambda path, x: engines.onnxruntime(path, 1, exact=True)(x),
    OPENVINO: lambda path, x: engines.openvino(path, 1)(x),
    LITERT: lambda path, x: engines.litert(path, 1)(x),
}


def main() -> None:
    """Import, note, load and run, note."""
    what, engine, path, given = sys.argv[1:]
    x = np.ascontiguousarray(np.load(given)[:1])
    import_module(MODULES.get(engine, "dqt.runtime"))
    if engine == LITERT:
        import_module("ai_edge_litert.interpreter")
    forget_peak()
    before, began = status("VmRSS"), time.process_time()
    try:
        with pinned(1):
            ANSWER[engine](Path(path), x)
    except Exception:  # each engine has errors of its own
        print("null")
        return
    took = time.process_time() - began
    print(json.dumps(status("VmHWM") - before if what == "memory" else took))


if __name__ == "__main__":
    main()
