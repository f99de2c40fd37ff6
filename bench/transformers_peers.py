"""Other engines on ONNX models, one thread: a call of one sample each."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.serving.common import Call


def onnxruntime(path: Path, x: npt.NDArray[Any]) -> Call:
    """ONNX Runtime, all graph optimizations."""
    ort = import_module("onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: x}
    session.run(None, feed)
    return lambda: session.run(None, feed)


def openvino(path: Path, x: npt.NDArray[Any]) -> Call:
    """OpenVINO's processor device; what is not int8 in float32, which is faster here than its choice of bfloat16."""
    ov = import_module("openvino")
    core = ov.Core()
    settings = {
        "PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "ENABLE_CPU_PINNING": False,
        "INFERENCE_PRECISION_HINT": "f32",
    }  # fmt: skip
    request = core.compile_model(core.read_model(str(path)), "CPU", settings).create_infer_request()
    request.set_input_tensor(ov.Tensor(np.ascontiguousarray(x), shared_memory=True))
    request.infer()
    return lambda: request.infer(share_outputs=True)
