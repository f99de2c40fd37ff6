"""Other engines on files, one thread: each gives a function from inputs to outputs for a number of samples a call."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
Run: TypeAlias = Callable[[Array], Array]
"""Inputs ``[batch, ...]`` to outputs, which the next call may overwrite."""
LITERT, OPENVINO, ONNXRUNTIME, EXACT = "LiteRT", "OpenVINO", "ONNX Runtime", "ONNX Runtime, x64quantprecision"
"""The engines, by the names of the tables; the last is ONNX Runtime with :func:`onnxruntime`'s ``exact``."""
MODULES = {LITERT: "ai_edge_litert", OPENVINO: "openvino", ONNXRUNTIME: "onnxruntime", EXACT: "onnxruntime"}
BATCH = "N"
"""The name of the first dimension in ONNX models."""
UNMERGED = ["DoubleQDQPairsRemover"]
"""ONNX Runtime's optimizer that makes one of two quantizers that follow each other, and changes values by it."""


def onnxruntime(path: Path, batch: int, *, exact: bool = False, merges: bool = True, plain: bool = False) -> Run:
    """ONNX Runtime's CPU provider.

    Args:
        path: an ONNX model.
        batch: samples of a call.
        exact: ``session.x64quantprecision``, which makes uint8 weights of int8 ones where products would saturate.
        merges: its optimizer may merge quantizers.
        plain: no optimization at all, so that the graph runs as it is written, in float32.
    """
    ort = import_module("onnxruntime")
    options = ort.SessionOptions()
    options.add_free_dimension_override_by_name(BATCH, batch)
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if exact:
        options.add_session_config_entry("session.x64quantprecision", "1")
    if plain:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(
        str(path), options, providers=["CPUExecutionProvider"], disabled_optimizers=None if merges else UNMERGED
    )
    name = session.get_inputs()[0].name

    def run(x: Array) -> Array:
        found: Array = session.run(None, {name: x})[0]
        return found

    return run


def openvino(path: Path, batch: int) -> Run:
    """OpenVINO's processor device, one stream, for a fixed number of samples; what is not int8 in float32."""
    ov = import_module("openvino")
    core = ov.Core()
    model = core.read_model(str(path))
    shape = model.inputs[0].partial_shape
    shape[0] = batch
    model.reshape(shape)
    settings = {
        "PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "ENABLE_CPU_PINNING": False,
        "INFERENCE_PRECISION_HINT": "f32",
    }  # fmt: skip
    request = core.compile_model(model, "CPU", settings).create_infer_request()
    held: list[Array] = []

    def run(x: Array) -> Array:
        if not held or held[0] is not x:
            held[:] = [x]
            request.set_input_tensor(ov.Tensor(x, shared_memory=True))
        request.infer(share_outputs=True)
        found: Array = request.get_output_tensor().data
        return found

    return run


def litert(path: Path, batch: int) -> Run:
    """LiteRT with XNNPACK, on a file for ``batch`` samples; input ``[N, H, W, C]``, transposed once for every array."""
    interpreter = import_module("ai_edge_litert.interpreter").Interpreter(model_path=str(path), num_threads=1)
    source, target = (each[0] for each in (interpreter.get_input_details(), interpreter.get_output_details()))
    assert source["shape"][0] == batch
    interpreter.allocate_tensors()
    held: list[Array] = []

    def run(x: Array) -> Array:
        if not held or held[0] is not x:
            held[:] = [x, np.ascontiguousarray(x.transpose(0, 2, 3, 1) if x.ndim == 4 else x)]
        interpreter.set_tensor(source["index"], held[1])
        interpreter.invoke()
        found: Array = interpreter.get_tensor(target["index"])
        return found

    return run
