#!/usr/bin/env bash
# Guess: an optimization level changes speed and perhaps float rounding; the values that a graph's last quantizer can give stay.
# Seen:  two chained quantizers of scales 0.1 and 0.25 (QuantizeLinear and DequantizeLinear, twice) give multiples of 0.25 with
#        all optimizations off. From ORT_ENABLE_BASIC on, which the default includes, only one pair is left and it has the FIRST
#        scale: the outputs are multiples of 0.1, as -1.3, which the graph as written cannot produce. No warning.
# With:  onnxruntime 1.31.1, onnx 1.23.2, numpy 2.4.6, Python 3.11.
# Code:  onnxruntime/core/optimizer/double_qdq_pairs_remover.cc; it asks for equal scales within a pair, not between the pairs.
set -euo pipefail
t=$(mktemp -d)
trap 'rm -rf "$t"' EXIT
python3 -m venv "$t/venv"
"$t/venv/bin/pip" --disable-pip-version-check install -q onnxruntime==1.31.1 onnx==1.23.2 numpy==2.4.6
cd "$t"
venv/bin/python - <<'PY'
import sys

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, checker, helper, numpy_helper

x = np.array([-1.3, -0.9, -0.4, 0.2, 0.6, 1.1], np.float32)
constants = {"first": np.float32(0.1), "last": np.float32(0.25), "zero": np.int8(0)}
nodes = [
    helper.make_node("QuantizeLinear", ["x", "first", "zero"], ["a"]),
    helper.make_node("DequantizeLinear", ["a", "first", "zero"], ["b"]),
    helper.make_node("QuantizeLinear", ["b", "last", "zero"], ["c"]),
    helper.make_node("DequantizeLinear", ["c", "last", "zero"], ["y"]),
]
ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [len(x)]) for n in "xy"]
tensors = [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()]
graph = helper.make_graph(nodes, "chain", ports[:1], ports[1:], tensors)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
checker.check_model(model, full_check=True)


def run(level):
    options = ort.SessionOptions()
    options.graph_optimization_level = level
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


levels = ort.GraphOptimizationLevel
off, basic, full = (run(v) for v in (levels.ORT_DISABLE_ALL, levels.ORT_ENABLE_BASIC, levels.ORT_ENABLE_ALL))
print("input", x.tolist(), "off", off.tolist(), "basic", basic.tolist(), "all", full.tolist(), sep="\n")
as_written = np.allclose(off, [-1.25, -1, -0.5, 0.25, 0.5, 1])
merged = np.allclose(basic, x) and np.allclose(full, x)
sys.exit(not (as_written and merged))
PY
