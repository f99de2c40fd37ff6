#!/usr/bin/env bash
# Guess: linear Resize of a uint8 image rounds the interpolated values to the nearest integer.
# Seen:  ONNX Runtime drops the fraction: 63.75 becomes 63. On random pixels the output is nearly half a level too dark on average
#        and never too bright; int8 is cut towards zero, too large below zero and too small above. ONNX's reference evaluator
#        rounds, so preprocessing inside the graph shifts every image against what a model was trained or checked with.
# With:  onnxruntime 1.31.1, onnx 1.23.2, numpy 2.4.6, Python 3.11.
# Docs:  the Resize specification (opset 19) names no rounding of values.
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
from onnx.reference import ReferenceEvaluator


def resize(x, dtype):
    n, c, h, w = x.shape
    ports = [
        helper.make_tensor_value_info("x", dtype, [n, c, h, w]),
        helper.make_tensor_value_info("y", dtype, [n, c, 2 * h, 2 * w]),
    ]
    scales = numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scales")
    node = helper.make_node("Resize", ["x", "", "scales"], ["y"], mode="linear")
    graph = helper.make_graph([node], "resize", ports[:1], ports[1:], [scales])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=10)
    checker.check_model(model, full_check=True)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0].astype(int), ReferenceEvaluator(model).run(None, {"x": x})[0].astype(int)


row = np.array([0, 255, 10, 13], np.uint8).reshape(1, 1, 1, 4)
first, rounded = (y[0, 0, 0].tolist() for y in resize(row, TensorProto.UINT8))
signed = resize((row.astype(int) - 128).astype(np.int8), TensorProto.INT8)[0][0, 0, 0].tolist()
runtime, reference = resize(np.random.default_rng(0).integers(0, 256, (1, 1, 64, 64), dtype=np.uint8), TensorProto.UINT8)
shift = runtime - reference
print("uint8 exact 0 63.75 191.25 193.75 71.25 10.75 12.25 13; runtime", first, "reference", rounded)
print("int8, each 128 less: runtime", signed)
print("random uint8: runtime - reference: mean", shift.mean(), "from", shift.min(), "to", shift.max())
same = first == [0, 63, 191, 193, 71, 10, 12, 13] and rounded == [0, 64, 191, 194, 71, 11, 12, 13]
same = same and signed == [-128, -64, 63, 65, -56, -117, -115, -115]
sys.exit(not (same and -0.6 < shift.mean() < -0.3 and shift.min() == -1 and shift.max() == 0))
PY
