#!/usr/bin/env bash
# Guess: onnx's reference evaluator computes QLinearConv with a scale of weights for each output channel in any number of dimensions,
#        as it does with one scale for all, and as the operator's page says: the scale is of the first dimension of the weights.
# Seen:  it shapes the scales for two dimensions of space. A 1-d convolution then gives a tensor of four dimensions in place of three,
#        without a word: each channel multiplied by the scale of every channel. A 3-d convolution raises an error, or, where the
#        output is as deep as it has channels, gives numbers whose scale is that of the depth. ONNX Runtime gives what the page says.
# With:  onnx 1.23.2, onnxruntime 1.31.1, numpy 2.4.6, Python 3.11.
# Code:  onnx/reference/ops/op_qlinear_conv.py, QLinearConv._run.
set -euo pipefail
t=$(mktemp -d)
trap 'rm -rf "$t"' EXIT
python3 -m venv "$t/venv"
"$t/venv/bin/pip" --disable-pip-version-check install -q onnx==1.23.2 onnxruntime==1.31.1 numpy==2.4.6
cd "$t"
venv/bin/python -W ignore - <<'PY'
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

CHANNELS = 3
rng = np.random.default_rng(0)


def results(space, scales):
    weights = rng.integers(-128, 128, (CHANNELS, 2) + (3,) * space).astype(np.int8)
    given = {
        "x_scale": np.float32(1), "x_zero": np.uint8(3), "w": weights,
        "w_scale": np.float32(scales), "w_zero": np.zeros(np.shape(scales), np.int8),
        "y_scale": np.float32(1), "y_zero": np.uint8(120),
    }
    node = helper.make_node("QLinearConv", ["x", *given], ["y"])
    x_info = helper.make_tensor_value_info("x", TensorProto.UINT8, [1, 2] + [5] * space)
    y_info = helper.make_tensor_value_info("y", TensorProto.UINT8, [1, CHANNELS] + [3] * space)
    constants = [numpy_helper.from_array(np.asarray(value), name) for name, value in given.items()]
    graph = helper.make_graph([node], "conv", [x_info], [y_info], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    x = rng.integers(0, 256, (1, 2) + (5,) * space).astype(np.uint8)
    served = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})[0]
    return served, ReferenceEvaluator(model).run(None, {"x": x})[0]


seen = {}
for space in (1, 2, 3):
    for kind, scales in (("one scale", 1 / 64), ("a scale a channel", [1 / 64, 1 / 32, 1 / 16])):
        served, reference = results(space, scales)
        seen[space, kind] = served.shape, reference.shape, np.array_equal(served, reference)
        print(f"{space}-d, {kind}: ONNX Runtime {served.shape}, reference {reference.shape}, equal {seen[space, kind][2]}")
right = all(seen[space, "one scale"][2] for space in (1, 2, 3)) and seen[2, "a scale a channel"][2]
flat, deep = seen[1, "a scale a channel"], seen[3, "a scale a channel"]
sys.exit(not (right and flat[:2] == ((1, 3, 3), (1, 3, 3, 3)) and deep[0] == deep[1] and not deep[2]))
PY
