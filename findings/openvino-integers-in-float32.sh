#!/usr/bin/env bash
# Guess: integer operators of an ONNX graph give exact integers wherever the result fits the output type.
# Seen:  OpenVINO's CPU plugin computes int32 Div and MatMulInteger in float32 and converts back: 16777217 / 1 gives 16777216,
#        and a sum of 1025 products of int8 weights and uint8 inputs lacks its lowest bit. The output type says int32; no warning.
#        (Add of int32 is exact.) Run with INFERENCE_PRECISION_HINT f32, so that no processor's bfloat16 takes part.
# With:  openvino 2026.4.1, onnx 1.23.2, numpy 2.4.6, Python 3.11, x86-64.
# Docs:  ONNX Div truncates for integers; MatMulInteger "must never overflow" and may wrap only in 32 bits.
set -euo pipefail
t=$(mktemp -d)
trap 'rm -rf "$t"' EXIT
python3 -m venv "$t/venv"
"$t/venv/bin/pip" --disable-pip-version-check install -q openvino==2026.4.1 onnx==1.23.2 numpy==2.4.6
cd "$t"
venv/bin/python - <<'PY'
import sys

import numpy as np
import openvino as ov
from onnx import TensorProto, checker, helper

TYPES = {"int32": TensorProto.INT32, "uint8": TensorProto.UINT8, "int8": TensorProto.INT8}


def run(op, a, b, exact):
    ports = [helper.make_tensor_value_info(n, TYPES[str(v.dtype)], v.shape) for n, v in (("a", a), ("b", b))]
    out = helper.make_tensor_value_info("y", TensorProto.INT32, exact.shape)
    graph = helper.make_graph([helper.make_node(op, ["a", "b"], ["y"])], "g", ports, [out])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    checker.check_model(model, full_check=True)
    core = ov.Core()
    net = core.compile_model(core.read_model(model.SerializeToString()), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    y = net([a, b])[0]
    print(op, y.dtype, "OpenVINO", y.ravel().tolist(), "exact", exact.ravel().tolist())
    return y.ravel().tolist()


numbers, divisors = np.array([2**24 + 1, 2**31 - 1, 100], np.int32), np.array([1, 2, 7], np.int32)
x, weights = np.full((1, 1025), 255, np.uint8), np.full((1025, 1), 127, np.int8)
divided = run("Div", numbers, divisors, numbers // divisors)
added = run("Add", numbers, -divisors, numbers - divisors)
summed = run("MatMulInteger", x, weights, x.astype(np.int32) @ weights.astype(np.int32))
inexact = divided == [16777216, 1073741824, 14] and summed != [255 * 127 * 1025]
sys.exit(not (inexact and added == (numbers - divisors).tolist()))
PY
