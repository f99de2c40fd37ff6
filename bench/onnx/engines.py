"""Engines that take ONNX models."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from dqt.export.packages import package

Arrays = dict[str, npt.NDArray[Any]]
Answers = list[list[npt.NDArray[Any]]]
"""Of each way to run a model its outputs, in order."""
PRECISION = "session.x64quantprecision"
LEVELS = (
    ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
)
WAYS = tuple(product(LEVELS, (False, True)))
"""Levels of optimization, without and with the switch for exact products."""
VERSIONS = {"onnxruntime": ort.__version__, "openvino": str(package("openvino").__version__).partition("-")[0]}


def session(model: bytes, level: Any = LEVELS[-1], *, precise: bool = False, threads: int = 1) -> Any:
    """A session of ONNX Runtime's CPU provider."""
    options = ort.SessionOptions()
    options.graph_optimization_level = level
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    options.add_session_config_entry(PRECISION, str(int(precise)))
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def onnxruntime(model: bytes, feed: Arrays) -> Answers:
    """Its answers, one for each of the eight ways."""
    found = []
    for level, precise in WAYS:
        run = session(model, level, precise=precise)
        found.append(run.run(None, feed))
    return found


def openvino(model: bytes, feed: Arrays) -> Answers:
    """The answer of its CPU device, asked not to round on its own."""
    core = package("openvino").Core()
    compiled = core.compile_model(core.read_model(model), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    result = compiled({name: np.ascontiguousarray(array) for name, array in feed.items()})
    return [[np.asarray(result[out]) for out in compiled.outputs]]


ENGINES: dict[str, Callable[[bytes, Arrays], Answers]] = {"onnxruntime": onnxruntime, "openvino": openvino}
