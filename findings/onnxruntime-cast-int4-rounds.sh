#!/usr/bin/env bash
# Guess: Cast from float to INT4 does to the fraction what Cast from float to INT8 does: it drops it.
# Seen:  ONNX Runtime drops the fraction for INT8 and INT32, but rounds for INT4, ties away from zero: 0.6 becomes 0 in
#        8 bits and 1 in 4 bits, 2.5 becomes 2 and 3. (QuantizeLinear, by its specification, rounds ties to even: a third rule.)
#        ONNX's own reference evaluator drops the fraction for every type, so the two disagree on one valid model.
# With:  onnxruntime 1.31.1, onnx 1.23.2, numpy 2.4.6, Python 3.11.
# Docs:  the Cast specification (opset 25) names no rounding for integers.
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
from onnx import TensorProto, checker, helper
from onnx.reference import ReferenceEvaluator

x = np.array([-2.5, -1.6, -0.5, 0.4, 0.6, 1.5, 2.5, 3.7], np.float32)
dropped = [-2, -1, 0, 0, 0, 1, 2, 3]
rounded = [-3, -2, -1, 0, 1, 2, 3, 4]  # to the nearest, ties away from zero
changed = False
for name, seen in (("INT4", rounded), ("INT8", dropped), ("INT32", dropped)):
    nodes = [
        helper.make_node("Cast", ["x"], ["q"], to=TensorProto.DataType.Value(name)),
        helper.make_node("Cast", ["q"], ["y"], to=TensorProto.FLOAT),
    ]
    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [len(x)]) for n in "xy"]
    graph = helper.make_graph(nodes, "cast", ports[:1], ports[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    checker.check_model(model, full_check=True)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    runtime = session.run(None, {"x": x})[0].astype(int).tolist()
    reference = ReferenceEvaluator(model).run(None, {"x": x})[0].astype(int).tolist()
    print(name, "of", x.tolist(), "ONNX Runtime", runtime, "reference", reference)
    changed |= runtime != seen or reference != dropped
sys.exit(changed)
PY
