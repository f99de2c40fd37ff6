"""LiteRT, to compare with, beside the engines of :mod:`dqt.runtime.peers`."""

from __future__ import annotations

import numpy as np

from bench.litert_model import litert_model
from dqt.export.packages import package
from dqt.program.program import Program
from dqt.runtime.peers import PEERS as KNOWN
from dqt.runtime.peers import Call, Floats, Peer


def litert(program: Program, x: Floats, y: Floats, threads: int) -> Call:
    """LiteRT with XNNPACK; input ``[N, H, W, C]``, transposed before the clock runs."""
    model = litert_model(program, len(x), float(np.abs(y).max()))
    interpreter = package("ai_edge_litert.interpreter").Interpreter(model_content=model, num_threads=threads)
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]["index"]
    target = interpreter.get_output_details()[0]["index"]
    held = np.ascontiguousarray(x.transpose(0, 2, 3, 1) if x.ndim == 4 else x)

    def call() -> Floats:
        interpreter.set_tensor(source, held)
        interpreter.invoke()
        out: Floats = interpreter.get_tensor(target)
        return out.transpose(0, 3, 1, 2) if out.ndim == 4 else out

    return call


PEERS = {**KNOWN, "litert": Peer("ai_edge_litert", litert)}
"""Every engine that is compared with."""
