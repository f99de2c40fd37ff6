"""Networks quantized to 8 bits by other libraries, from the same float weights and calibration samples.

NNCF's simulation in float32 computes, so that no processor's saturation counts. ONNX Runtime's model runs twice: with
the option that makes its products exact, and as it is: on processors without VNNI sums of two products then saturate.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.peers.engines import EXACT, ONNXRUNTIME, Run, onnxruntime
from bench.transformers_onnx import quantized

NNCF = "NNCF"
CALL = 50
"""Samples of a call."""
Answers = Callable[[Tensor], Any]


def quantizations(model: nn.Module, known: Tensor) -> dict[str, tuple[Answers, str, float]]:
    """By library: the function that was made, from inputs ``[CALL, ...]`` to outputs; its version; seconds of a core.

    Args:
        known: the samples that calibrate.
    """
    began = time.process_time()
    by_nncf = _nncf(model, known)
    found = {NNCF: (by_nncf, version("nncf"), round(time.process_time() - began, 1))}
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        paths = {form: Path(folder) / f"{form}.onnx" for form in ("whole", "products", "dynamic")}
        quantized(model, known, paths, any_batch=True)
        seconds = round(time.process_time() - began, 1)
        for name, exact in ((EXACT, True), (ONNXRUNTIME, False)):
            found[name] = (_answers(onnxruntime(paths["whole"], CALL, exact=exact)), version("onnxruntime"), seconds)
    return found


def _answers(run: Run) -> Answers:
    return lambda x: run(x.numpy())


def _nncf(model: nn.Module, known: Tensor) -> Answers:
    """Post-training quantization as ``nncf.quantize`` has it by default."""
    nncf: Any = import_module("nncf")
    made = nncf.quantize(model, nncf.Dataset(list(torch.split(known, CALL))), subset_size=len(known))
    return lambda x: made(x).detach().numpy()
