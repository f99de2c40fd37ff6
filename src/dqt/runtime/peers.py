"""Other engines, to compare with: each takes a program, and gives a function without arguments that runs it once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from dqt.export.names import state_in
from dqt.export.packages import ExportError, package
from dqt.export.qdq.model import qdq_model
from dqt.program.program import Program


class PeerError(RuntimeError):
    """Another engine cannot be used."""


Floats: TypeAlias = npt.NDArray[np.float32]
Call: TypeAlias = Callable[[], Floats]
"""Runs the network once on its bound input; the array may be overwritten by the next call."""


def count_of(x: Any) -> int:
    """The samples of a batch: an array, or arrays by name."""
    return len(next(iter(x.values())) if isinstance(x, Mapping) else x)


def _fed(program: Program, x: Any) -> dict[str, npt.NDArray[Any]]:
    """The tensors of a model by name; states at their start."""
    named = dict(x) if isinstance(x, Mapping) else {program.inputs[0].name: x}
    starts = {state_in(s.name): np.full((count_of(x), *s.shape), s.zero, np.int32) for s in program.states}
    return {name: np.ascontiguousarray(array) for name, array in named.items()} | starts


def onnxruntime(program: Program, x: Any, _y: Floats, threads: int) -> Call:
    """ONNX Runtime's CPU provider, all graph optimizations; its threads do not go on spinning after a run.

    On x86 processors without VNNI its usual products of uint8 by int8 saturate; it is asked for those that do not.
    """
    model = qdq_model(program, count_of(x))
    ort = package("onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.add_session_config_entry("session.x64quantprecision", "1")
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    feed = _fed(program, x)

    def call() -> Floats:
        result: Floats = session.run(None, feed)[0]
        return result

    return call


def openvino(program: Program, x: Any, _y: Floats, threads: int) -> Call:
    """OpenVINO's CPU device, one stream; what is not int8 runs as it chooses by default.

    On x86 processors without VNNI its products of uint8 by int8 saturate, and nothing switches that off.
    """
    model = qdq_model(program, count_of(x))
    ov = package("openvino")
    core = ov.Core()
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
    settings |= {"ENABLE_CPU_PINNING": False}
    request = core.compile_model(core.read_model(model), "CPU", settings).create_infer_request()
    held = _fed(program, x)
    for name, array in held.items():
        request.set_tensor(name, ov.Tensor(array, shared_memory=True))
    out = request.get_output_tensor(0)

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


def bind(peers: Mapping[str, Peer], name: str, program: Program, x: Any, y: Any, threads: int) -> Call:
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
