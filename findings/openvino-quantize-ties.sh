#!/usr/bin/env bash
# Guess: QuantizeLinear rounds x / scale, ties to even, and adds the zero point then, as ONNX says; so 0.5 with scale 1 and zero point
#        1 gives 0 + 1.
# Seen:  OpenVINO's CPU device adds the zero point first. At odd zero points every tie goes the other way: 0.5 gives 2, 1.5 gives
#        2 instead of 3. At even ones nothing differs. ONNX Runtime 1.31.1 does as the reference does.
# With:  openvino 2026.4.1, onnx 1.23.2, numpy 2.4.6, Python 3.11, x86-64.
# Docs:  ONNX QuantizeLinear: y = saturate((x / y_scale) + y_zero_point), where the division is rounded to the nearest even.
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


def both(zero):
    x, point = np.array([0.5, 1.5, 2.5, 3.25], np.float32), np.array(zero, np.uint8)
    node = helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["y"])
    found = answers(node, {"x": x, "scale": np.array(1, np.float32), "zero": point}, np.zeros(4, np.uint8))
    print(f"{x.tolist()}, scale 1, zero point {zero}: OpenVINO {found[0]}, reference {found[1]}")
    return found


even, odd = both(128), both(129)
sys.exit(not (even[0] == even[1] == [128, 130, 130, 131] and odd == ([130, 130, 132, 132], [129, 131, 131, 132])))
PY
