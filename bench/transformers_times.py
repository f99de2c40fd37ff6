"""One network with one kernel set, beside other engines: times in turns.

    python -m bench.transformers_times FOLDER NAME ISA SECONDS CLOCK AGAINST

A process of its own, so that the environment can limit OpenVINO to an instruction set. Prints JSON.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench import transformers_peers as peers
from bench.serving.common import Call, ratios, spread, turns
from dqt.runtime import Runtime
from dqt.runtime.bench import pinned

WIDTHS = (8, 6, 4, 3, 2)
FORMS = ("whole", "products", "dynamic")
"""What an ONNX model has quantized: every operator that can be, or products alone; or products, with scales found in
the run."""
CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "processor": time.process_time}
"""The second leaves out what other processes do on the core."""
BEST, LIMITED = "avx512vnni", {"ONEDNN_MAX_CPU_ISA": "AVX2"}
ENGINES = {"onnxruntime": peers.onnxruntime, "openvino": peers.openvino}
AGAINST = tuple(f"{engine} {form}" for engine in ENGINES for form in FORMS)


def main() -> None:
    """Measure and print."""
    folder, name, isa, seconds, clock, against = sys.argv[1:]
    x = np.load(Path(folder) / f"{name}.npy")
    run = Runtime(Path(folder) / f"{name}.dqt", threads=1, isa=isa)
    labels = [label for label in against.split(",") if isa == BEST or label.startswith("openvino ")]
    with pinned(1):
        calls: dict[str, Call] = {str(b): partial(run, x, b) for b in WIDTHS}
        calls |= others(Path(folder), name, x, labels)
        times = turns(calls, float(seconds), CLOCKS[clock])
    found = {
        "ms": {label: spread(values) for label, values in times.items()},
        "of_8": {label: spread(ratios(values, times["8"])) for label, values in times.items()},
    }
    print(json.dumps(found))


def others(folder: Path, name: str, x: npt.NDArray[Any], labels: list[str]) -> dict[str, Call]:
    """Engine and form -> a call of one sample; a form that an engine refuses is left out, and said."""
    made: dict[str, Call] = {}
    for label in labels:
        engine, form = label.split()
        if not importlib.util.find_spec(engine):
            continue
        try:
            made[label] = ENGINES[engine](folder / f"{name}.{form}.onnx", x)
        except Exception as error:  # each engine has errors of its own
            print(f"{engine} refuses the form {form}: {str(error).splitlines()[0][:120]}", flush=True)
    return made


if __name__ == "__main__":
    main()
