"""The engines themselves: each takes a program, and gives a function without arguments that runs it once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from dqt.program.program import Program
from dqt.runtime.peers.litert_model import litert_model
from dqt.runtime.peers.onnx_model import INPUT, onnx_model
from dqt.runtime.peers.packages import package
from dqt.runtime.peers.reals import PeerError

Floats: TypeAlias = npt.NDArray[np.float32]
Call: TypeAlias = Callable[[], Floats]
"""Runs the network once on its bound input; the array may be overwritten by the next call."""


def onnxruntime(program: Program, x: Floats, _y: Floats, threads: int) -> Call:
    """ONNX Runtime's CPU provider, all graph optimizations; its threads do not go on spinning after a run."""
    model = onnx_model(program, len(x))
    ort = package("onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    feed = {INPUT: x}

    def call() -> Floats:
        result: Floats = session.run(None, feed)[0]
        return result

    return call


def openvino(program: Program, x: Floats, _y: Floats, threads: int) -> Call:
    """OpenVINO's CPU device, one stream; what is not int8 runs as it chooses by default."""
    model = onnx_model(program, len(x))
    ov = package("openvino")
    core = ov.Core()
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
    settings |= {"ENABLE_CPU_PINNING": False}
    request = core.compile_model(core.read_model(model), "CPU", settings).create_infer_request()
    held = np.ascontiguousarray(x)
    request.set_input_tensor(ov.Tensor(held, shared_memory=True))
    out = request.get_output_tensor()

    def call() -> Floats:
        request.infer(share_outputs=True)
        result: Floats = out.data
        return result

    return call


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


PEERS: dict[str, tuple[str, Callable[[Program, Any, Any, int], Call]]] = {
    "onnxruntime": ("onnxruntime", onnxruntime),
    "openvino": ("openvino", openvino),
    "litert": ("ai_edge_litert", litert),
}
"""Name -> its module, and what binds it to an input ``x`` (``y``: our own answer) for a number of threads."""


def bind(name: str, program: Program, x: Floats, y: Floats, threads: int) -> Call:
    """The peer ``name``, built for ``program`` and the batch ``x``; ``y`` is what ``program`` itself answers.

    Raises:
        PeerError: an unknown name, a missing package, an instruction without a counterpart, or one that it refuses.
    """
    if name not in PEERS:
        raise PeerError(f"no engine is called {name!r}: choose among {', '.join(PEERS)}")
    module, build = PEERS[name]
    package(module)
    try:
        return build(program, x, y, threads)
    except PeerError:
        raise
    except Exception as error:  # each engine has errors of its own
        raise PeerError(f"{name} {version(name)} does not take this network: {error}") from error


def version(name: str) -> str:
    """The version of the peer's package, without its build."""
    return str(package(PEERS[name][0]).__version__).partition("-")[0]
