#!/usr/bin/env bash
# Guess: BitShift to the right of uint32 moves bits, whatever the highest bit is, and drops the lowest one.
# Seen:  OpenVINO's CPU device divides by a power of two instead, in float32 and with the highest bit as a sign: 4294967295 >> 1 is
#        0, 2147483648 >> 1 is 3221225472, 16777219 >> 1 is 8388610 (exact: 2147483647, 1073741824, 8388609). Small numbers and
#        uint8 are right. No warning.
# With:  openvino 2026.4.1, onnx 1.23.2, numpy 2.4.6, Python 3.11, x86-64. Precision hint f32: no bfloat16 takes part.
# Docs:  ONNX BitShift: "zeros are inserted" from the left, for unsigned types alone.
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
from onnx import checker, helper
from onnx.reference import ReferenceEvaluator


def answers(node, arrays, like):
    """What OpenVINO and onnx's reference evaluator give for one operator."""
    kind = helper.np_dtype_to_tensor_dtype
    ports = [helper.make_tensor_value_info(name, kind(v.dtype), v.shape) for name, v in arrays.items()]
    out = helper.make_tensor_value_info("y", kind(like.dtype), like.shape)
    graph = helper.make_graph([node], "g", ports, [out])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    checker.check_model(model, full_check=True)
    core = ov.Core()
    net = core.compile_model(core.read_model(model.SerializeToString()), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return net(list(arrays.values()))[0].tolist(), ReferenceEvaluator(model).run(None, arrays)[0].tolist()


x, one = np.array([2**32 - 1, 2**31, 2**24 + 3, 1000], np.uint32), np.ones(4, np.uint32)
found, exact = answers(helper.make_node("BitShift", ["x", "one"], ["y"], direction="RIGHT"), {"x": x, "one": one}, x)
bytes_ = np.array([255, 128, 7, 1], np.uint8)
small, right = answers(
    helper.make_node("BitShift", ["x", "one"], ["y"], direction="RIGHT"), {"x": bytes_, "one": np.ones(4, np.uint8)}, bytes_
)
print(f"{x.tolist()} >> 1: OpenVINO {found}, reference {exact}\n{bytes_.tolist()} >> 1: OpenVINO {small}, reference {right}")
sys.exit(not (found == [0, 3221225472, 8388610, 500] and exact == (x >> 1).tolist() and small == right))
PY
