#!/usr/bin/env bash
# Guess: session.x64quantprecision=1, which makes int8 products exact on x86 processors without VNNI, changes integers and speed;
#        whatever model runs without it runs with it.
# Seen:  two MatMuls of quantized weights run if each has a zero point of its own. If both name one int8 zero point, as they may,
#        or one int8 weight (tied layers), the session is refused: "Attempt to replace the existing tensor".
# With:  onnxruntime 1.31.1 (and 1.32.0), onnx 1.23.2, numpy 2.4.6, Python 3.11.
# Code:  onnxruntime/core/optimizer/qdq_transformer/avx2_weight_s8_to_u8.cc: it seems to add the uint8 copy of an initializer,
#        whose name it makes from that of the int8 one, once for each node that reads it.
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


def model(weights, zeros):
    """x -> Q -> DQ -> MatMul -> Q -> DQ -> MatMul -> Q -> DQ -> y; names of the two weights and of their zero points."""
    rng = np.random.default_rng(0)
    held = {"s": np.float32(0.1), "z": np.uint8(0)}
    held |= {name: rng.integers(-127, 128, (4, 4)).astype(np.int8) for name in weights}
    held |= {name: np.int8(0) for name in zeros}
    nodes, x = [], "x"
    for i, weight in enumerate(weights):
        nodes += [
            helper.make_node("QuantizeLinear", [x, "s", "z"], [f"q{i}"]),
            helper.make_node("DequantizeLinear", [f"q{i}", "s", "z"], [f"d{i}"]),
            helper.make_node("DequantizeLinear", [weight, "s", zeros[i]], [f"w{i}.real"]),
            helper.make_node("MatMul", [f"d{i}", f"w{i}.real"], [f"m{i}"]),
        ]
        x = f"m{i}"
    nodes += [
        helper.make_node("QuantizeLinear", [x, "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [2, 4]) for n in "xy"]
    tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in held.items()]
    graph = helper.make_graph(nodes, "two", ports[:1], ports[1:], tensors)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    checker.check_model(made, full_check=True)
    return made.SerializeToString()


def said(model, precise):
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.add_session_config_entry("session.x64quantprecision", precise)
    try:
        run = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        run.run(None, {"x": np.ones((2, 4), np.float32)})
    except Exception as error:
        return str(error).strip().splitlines()[-1][-60:]
    return "runs"


models = {
    "each its own": model(["a", "b"], ["za", "zb"]),
    "one zero point": model(["a", "b"], ["zero", "zero"]),
    "one weight": model(["a", "a"], ["za", "zb"]),
}
found = {name: (said(made, "0"), said(made, "1")) for name, made in models.items()}
for name, (without, with_it) in found.items():
    print(f"{name}: without the option {without!r}, with it {with_it!r}")
as_seen = all(without == "runs" for without, _ in found.values()) and found["each its own"][1] == "runs"
refused = all("replace the existing tensor" in found[name][1] for name in ("one zero point", "one weight"))
sys.exit(not (as_seen and refused))
PY
