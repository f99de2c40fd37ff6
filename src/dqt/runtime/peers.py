"""Other engines, to compare with: each takes a program, and gives a function without arguments that runs it once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from dqt.export.packages import ExportError, package
from dqt.export.qdq import INPUT, qdq_model
from dqt.program.program import Program


class PeerError(RuntimeError):
    """Another engine cannot be used."""


Floats: TypeAlias = npt.NDArray[np.float32]
Call: TypeAlias = Callable[[], Floats]
"""Runs the network once on its bound input; the array may be overwritten by the next call."""


def onnxruntime(program: Program, x: Floats, _y: Floats, threads: int) -> Call:
    """ONNX Runtime's CPU provider, all graph optimizations; its threads do not go on spinning after a run."""
    model = qdq_model(program, len(x))
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
    model = qdq_model(program, len(x))
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


@dataclass(frozen=True)
class Peer:
    """Another engine: its module; what binds it to an input ``x`` (``y``: our own answer) for a number of threads."""

    module: str
    build: Callable[[Program, Any, Any, int], Call]


PEERS = {"onnxruntime": Peer("onnxruntime", onnxruntime), "openvino": Peer("openvino", openvino)}
"""The engines that are known by name."""


def bind(peers: Mapping[str, Peer], name: str, program: Program, x: Floats, y: Floats, threads: int) -> Call:
    """The peer ``name``, built for ``program`` and the batch ``x``; ``y`` is what ``program`` itself answers.

    Raises:
        PeerError: an unknown name, or a network that it refuses.
        ExportError: a missing package, or an instruction without a counterpart.
    """
    if name not in peers:
        raise PeerError(f"no engine is called {name!r}: choose among {', '.join(peers)}")
    package(peers[name].module)
    try:
        return peers[name].build(program, x, y, threads)
    except ExportError:
        raise
    except Exception as error:  # each engine has errors of its own
        raise PeerError(f"{name} {version(peers[name])} does not take this network: {error}") from error


def version(peer: Peer) -> str:
    """The version of the peer's package, without its build."""
    return str(package(peer.module).__version__).partition("-")[0]
