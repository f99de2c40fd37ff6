#!/usr/bin/env bash
# Guess: onnx's reference evaluator defines what a model gives, so MaxPool reads `pads` as the operator's page says: all
#        begins, then all ends, whatever the strides.
# Seen:  where strides and dilations are 1 it reads them as begin and end of each axis in turn. Pads that differ at two sides then give
#        another shape: 3 x 5 for a 4 x 4 input, pads 0 0 1 1 and a kernel of 2, where ONNX Runtime and the model checker's own shape
#        inference give 4 x 4. At strides of 2 the same pads are read as they should be; pads equal on all sides hide it.
# With:  onnx 1.23.2, onnxruntime 1.31.1, numpy 2.4.6, Python 3.11.
# Code:  onnx/reference/ops/_op_common_pool.py, CommonPool._run.
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
from onnx import TensorProto, helper, shape_inference
from onnx.reference import ReferenceEvaluator


def shapes(stride):
    node = helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], pads=[0, 0, 1, 1], strides=[stride, stride])
    x_info = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 4, 4])
    y_info = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", "c", "h", "w"])
    graph = helper.make_graph([node], "pool", [x_info], [y_info])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.checker.check_model(model)
    inferred = shape_inference.infer_shapes(model).graph.output[0].type.tensor_type.shape.dim
    x = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    served = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})[0]
    reference = ReferenceEvaluator(model).run(None, {"x": x})[0]
    return tuple(d.dim_value for d in inferred), served.shape, reference.shape


one, two = shapes(1), shapes(2)
print("stride 1: inferred, ONNX Runtime, reference:", *one)
print("stride 2: inferred, ONNX Runtime, reference:", *two)
four = (1, 1, 4, 4)
sys.exit(not (one == (four, four, (1, 1, 3, 5)) and two == ((1, 1, 2, 2),) * 3))
PY
