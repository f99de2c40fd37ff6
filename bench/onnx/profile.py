"""Where the time of ResNet-50's integer form goes in ONNX Runtime, and what its parts cost in other forms.

Products and requantizations are measured alone, at the sizes of layers of ResNet-50. A form that is not exact on every
processor is measured all the same, to know what exactness costs.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from bench.onnx.engines import session

Array = npt.NDArray[Any]
Parts = tuple[list[Any], dict[str, Array]]
"""Nodes from ``x`` to ``y``, and constants."""
RUNS, REPEATS = 3, 15
CHANNELS, SIDE, KERNEL = 256, 14, 3
"""A convolution in the middle of ResNet-50."""
ROUNDED = (256, 56)
"""Channels and side of its largest value."""
TYPES = {"uint8": TensorProto.UINT8, "int32": TensorProto.INT32}


def by_operator(model: bytes, feed: dict[str, Array]) -> dict[str, dict[str, float]]:
    """Operator -> milliseconds and nodes of one run, as the profiler of ONNX Runtime says, the slowest first.

    An ``If`` has the time of its branch, whose operators are listed.
    """
    with tempfile.TemporaryDirectory() as folder:
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level, options.enable_profiling = 3, True
        options.profile_file_prefix = str(Path(folder) / "profile")
        run = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        for _ in range(RUNS):
            run.run(None, feed)
        events = json.loads(Path(run.end_profiling()).read_text())
    spent, count = Counter[str](), Counter[str]()
    for event in events:
        kernel = event.get("cat") == "Node" and event["name"].endswith("_kernel_time")
        if kernel and event["args"]["op_name"] != "If":
            spent[event["args"]["op_name"]] += event["dur"]
            count[event["args"]["op_name"]] += 1
    return {kind: {"ms": round(us / 1000 / RUNS, 3), "nodes": count[kind] // RUNS} for kind, us in spent.most_common()}


def products() -> dict[str, dict[str, Any]]:
    """Types of a convolution's operands -> billions of products a second, and whether the integers are exact here."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (1, CHANNELS, SIDE, SIDE), dtype=np.uint8)
    weight = rng.integers(0, 256, (CHANNELS, CHANNELS, KERNEL, KERNEL), dtype=np.uint8)
    forms = {
        "uint8, weights uint8": (_unsigned(weight), x),
        "int8, weights uint8": (_signed_input(weight), x),
        "uint8, weights int8": (_signed_weight(weight), x),
        "rows of uint8, columns of int8": (_rows(weight), _gathered(x)),
    }
    wanted, found = None, {}
    for name, (parts, given) in forms.items():
        seconds, y = _timed(parts, given, "int32")
        wanted = y if wanted is None else wanted
        rate = y.size * CHANNELS * KERNEL * KERNEL / seconds / 1e9
        found[name] = {"rate": round(rate, 1), "exact": bool(np.array_equal(y, wanted))}
    return found


def _convolution(x: str, zero: str) -> Any:
    return helper.make_node("ConvInteger", [x, "w", zero, "middle"], ["y"], pads=[KERNEL // 2] * 4)


def _unsigned(weight: Array) -> Parts:
    return [_convolution("x", "zero")], {"w": weight, "zero": np.array(0, np.uint8), "middle": np.array(128, np.uint8)}


def _signed_weight(weight: Array) -> Parts:
    return [_convolution("x", "zero")], {
        "w": (weight ^ 128).view(np.int8),
        "zero": np.array(0, np.uint8),
        "middle": np.array(0, np.int8),
    }


def _signed_input(weight: Array) -> Parts:
    """Codes less 128: processors with VNNI have their fast product for them, the others saturate."""
    nodes = [
        helper.make_node("Add", ["x", "middle"], ["raised"]),
        helper.make_node("Cast", ["raised"], ["signed"], to=TensorProto.INT8),
        _convolution("signed", "zero"),
    ]
    return nodes, {"w": weight, "zero": np.array(-128, np.int8), "middle": np.array(128, np.uint8)}


def _rows(weight: Array) -> Parts:
    """Windows as rows of a matrix, which the integer form has where they have many channels."""
    columns = (weight ^ 128).view(np.int8).transpose(2, 3, 1, 0).reshape(-1, CHANNELS)
    nodes = [
        helper.make_node("MatMulInteger", ["x", "w", "zero", "middle"], ["sums"]),
        helper.make_node("Transpose", ["sums"], ["turned"], perm=[0, 2, 1]),
        helper.make_node("Reshape", ["turned", "shape"], ["y"]),
    ]
    shape = np.array([1, CHANNELS, SIDE, SIDE], np.int64)
    return nodes, {"w": columns, "zero": np.array(0, np.uint8), "middle": np.array(0, np.int8), "shape": shape}


def _gathered(x: Array) -> Array:
    """The windows of an input, ``[1, outputs, taps]``."""
    padded = np.pad(x, [(0, 0), (0, 0), (KERNEL // 2,) * 2, (KERNEL // 2,) * 2])
    found = np.lib.stride_tricks.sliding_window_view(padded, (KERNEL, KERNEL), axis=(2, 3))
    return np.ascontiguousarray(found.transpose(0, 2, 3, 4, 5, 1).reshape(1, SIDE * SIDE, -1))


def roundings() -> dict[str, dict[str, Any]]:
    """Form of the requantization of the largest value -> milliseconds, and whether it is exact."""
    rng = np.random.default_rng(0)
    channels, side = ROUNDED
    acc = rng.integers(-(10**6), 10**6, (1, channels, side, side), dtype=np.int32)
    m, c = rng.integers(10**6, 2**23, channels), rng.integers(0, 2**40, channels)
    wanted = np.clip((acc * m[:, None, None] + c[:, None, None]) >> 32, 0, 255)
    found = {}
    forms = {
        "float64, `Mul`, `Add`, `Clip`": _rounding,
        "float64, `BatchNormalization`, `QuantizeLinear`": _norm,
        "float32, `Mul`, `Add`, `Clip`": _single,
    }
    for name, form in forms.items():
        seconds, y = _timed(form(m * 2.0**-32, c * 2.0**-32), acc, "uint8")
        found[name] = {"ms": round(1e3 * seconds, 3), "exact": bool(np.array_equal(y, wanted))}
    return found


def _rounding(m: Array, c: Array) -> Parts:
    kind = helper.np_dtype_to_tensor_dtype(m.dtype)
    nodes = [
        helper.make_node("Cast", ["x"], ["acc"], to=kind),
        helper.make_node("Mul", ["acc", "m"], ["product"]),
        helper.make_node("Add", ["product", "c"], ["sum"]),
        *_ending(),
    ]
    return nodes, {"m": m.reshape(-1, 1, 1), "c": c.reshape(-1, 1, 1), **_limits(m.dtype)}


def _single(m: Array, c: Array) -> Parts:
    return _rounding(m.astype(np.float32), c.astype(np.float32))


def _norm(m: Array, c: Array) -> Parts:
    """The form in use. A norm of mean 0 and variance 1 has product and sum in one pass."""
    nodes = [
        helper.make_node("Cast", ["x"], ["acc"], to=TensorProto.DOUBLE),
        helper.make_node("BatchNormalization", ["acc", "m", "c", "zeros", "ones"], ["sum"], epsilon=0.0),
        helper.make_node("Cast", ["sum"], ["whole"], to=TensorProto.INT32),
        helper.make_node("Cast", ["whole"], ["single"], to=TensorProto.FLOAT),
        helper.make_node("QuantizeLinear", ["single", "one", "none"], ["y"]),
    ]
    ends: dict[str, Array] = {"one": np.array(1, np.float32), "none": np.array(0, np.uint8)}
    return nodes, {"m": m, "c": c, "zeros": np.zeros(len(m)), "ones": np.ones(len(m)), **ends}


def _ending() -> Sequence[Any]:
    clip = helper.make_node("Clip", ["sum", "lo", "hi"], ["inside"])
    return clip, helper.make_node("Cast", ["inside"], ["y"], to=TensorProto.UINT8)


def _limits(dtype: Any) -> dict[str, Array]:
    return {"lo": np.asarray(0, dtype), "hi": np.nextafter(np.asarray(256, dtype), np.asarray(0, dtype))}


def _timed(parts: Parts, x: Array, kind: str) -> tuple[float, Array]:
    """Median seconds of processor time of a graph of one input ``x``, and its answer ``y`` of a type."""
    nodes, constants = parts
    graph = helper.make_graph(
        nodes, "part", [helper.make_tensor_value_info("x", helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)],
        [helper.make_tensor_value_info("y", TYPES[kind], None)],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    run = session(model.SerializeToString())
    (answer,) = run.run(None, {"x": x})
    return float(np.median([_seconds(lambda: run.run(None, {"x": x})) for _ in range(REPEATS)])), answer


def _seconds(call: Callable[[], Any]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start
