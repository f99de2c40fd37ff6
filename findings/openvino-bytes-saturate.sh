#!/usr/bin/env bash
# Guess: sums, products and shifts of 8-bit integers that do not fit wrap around, as those of 16 and 32 bits do.
# Seen:  on OpenVINO's CPU device they saturate for 8 bits and wrap for 16 and 32: uint8 200 + 100 is 255, int16 32767 + 1 is
#        -32768. Neg and Abs of int8 -128 are 127. onnx's reference evaluator and ONNX Runtime 1.31.1 wrap at every width.
# With:  openvino 2026.4.1, onnx 1.23.2, numpy 2.4.6, Python 3.11, x86-64.
# Docs:  the operators' pages of ONNX name these types for Add, Sub, Mul, Neg and Abs and say nothing of overflow.
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


def both(op, a, b=None, **more):
    arrays = {"a": a} if b is None else {"a": a, "b": b}
    found = answers(helper.make_node(op, [*arrays], ["y"], **more), arrays, a)
    print(f"{op} of {a.dtype}: OpenVINO {found[0]}, reference {found[1]}")
    return found


u, i, w, d = (lambda *x, t=t: np.array(x, t) for t in (np.uint8, np.int8, np.int16, np.int32))
seen = [
    both("Add", u(200, 5), u(100, 6)),
    both("Sub", u(5, 200), u(6, 100)),
    both("Mul", u(20, 5), u(20, 6)),
    both("BitShift", u(200, 5), u(1, 1), direction="LEFT"),
    both("Add", i(127, -128), i(1, -1)),
    both("Neg", i(-128, 5)),
    both("Abs", i(-128, 5)),
]
wider = [both("Add", w(32767, -32768), w(1, -1)), both("Add", d(2**31 - 1, -(2**31)), d(1, -1))]
saturated = [[255, 11], [0, 100], [255, 30], [255, 10], [127, -128], [127, -5], [127, 5]]
wrapped = [[44, 11], [255, 100], [144, 30], [144, 10], [-128, 127], [-128, -5], [-128, 5]]
sys.exit(not ([*zip(saturated, wrapped)] == seen and all(ours == other for ours, other in wider)))
PY
