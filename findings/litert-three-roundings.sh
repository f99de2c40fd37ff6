#!/usr/bin/env bash
# Guess: the kernel sets of LiteRT (XNNPACK delegate, built-in, reference) give the same int8 results.
# Seen:  one fully connected layer that only divides by 2 rounds ties in three ways: to even (XNNPACK, the default), up (built-in
#        kernels without a delegate) and away from zero (reference). Dividing by 3 has no ties, yet the built-in kernel gives
#        1/3 -> 1 and -5/3 -> -1: it rounds twice, after the multiplier and after the shift.
# With:  ai-edge-litert 2.3.0, numpy 2.4.6, Python 3.11, x86-64.
# Code:  which set runs is OpResolverType in ai_edge_litert/interpreter.py; the model file does not say.
set -euo pipefail
t=$(mktemp -d)
trap 'rm -rf "$t"' EXIT
python3 -m venv "$t/venv"
"$t/venv/bin/pip" --disable-pip-version-check install -q ai-edge-litert==2.3.0 numpy==2.4.6
cd "$t"
venv/bin/python - <<'PY'
import sys

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as s
from ai_edge_litert.interpreter import Interpreter, OpResolverType


def part(kind, **fields):
    p = kind()
    vars(p).update(fields)
    return p


def divide(by, n=16):  # int8 [1, n] -> int8 [1, n]: identity weights of scale 1, output scale `by`
    q = [part(s.QuantizationParametersT, scale=[v], zeroPoint=[0]) for v in (1.0, 1.0, 1.0, by)]
    forms = (([1, n], 9, 0), ([n, n], 9, 1), ([n], 2, 2), ([1, n], 9, 0))  # shape, type (9 int8, 2 int32), buffer
    ts = [part(s.TensorT, shape=h, type=d, buffer=b, quantization=p) for (h, d, b), p in zip(forms, q)]
    data = (b"", np.eye(n, dtype=np.int8).tobytes(), bytes(4 * n))
    options = {"builtinOptionsType": s.BuiltinOptions.FullyConnectedOptions, "builtinOptions": s.FullyConnectedOptionsT()}
    op = part(s.OperatorT, opcodeIndex=0, inputs=[0, 1, 2], outputs=[3], **options)
    graph = part(s.SubGraphT, tensors=ts, inputs=[0], outputs=[3], operators=[op])
    code = part(s.OperatorCodeT, builtinCode=9, deprecatedBuiltinCode=9, version=4)  # FULLY_CONNECTED
    buffers = [part(s.BufferT, data=np.frombuffer(d, np.uint8)) for d in data]
    model, builder = part(s.ModelT, version=3, operatorCodes=[code], subgraphs=[graph], buffers=buffers), flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def run(model, kernels):
    net = Interpreter(model_content=model, num_threads=1, experimental_op_resolver_type=kernels)
    net.allocate_tensors()
    net.set_tensor(net.get_input_details()[0]["index"], np.arange(-8, 8, dtype=np.int8)[None])
    net.invoke()
    return net.get_tensor(net.get_output_details()[0]["index"])[0, 3:14].tolist()


sets = (OpResolverType.AUTO, OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES, OpResolverType.BUILTIN_REF)
got = {by: [run(divide(by), k) for k in sets] for by in (2.0, 3.0)}
for by, rows in got.items():
    print(f"-5 to 5 divided by {by:g}:", *(f"\n  {k.name:34s}{r}" for k, r in zip(sets, rows)))
half = [[-2, -2, -2, -1, 0, 0, 0, 1, 2, 2, 2], [-2, -2, -1, -1, 0, 0, 1, 1, 2, 2, 3], [-3, -2, -2, -1, -1, 0, 1, 1, 2, 2, 3]]
near = [-2, -1, -1, -1, 0, 0, 0, 1, 1, 1, 2]
sys.exit(got != {2.0: half, 3.0: [near, [-1, -1, -1, 0, 0, 0, 1, 1, 1, 2, 2], near]})
PY
