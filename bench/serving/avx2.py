"""ResNet-50 with AVX2 kernels at 8, 4 and 2 bits, beside the float network in torch and OpenVINO at 8 bits.

torch and OpenVINO run without limits and limited to AVX2. ONNX Runtime and LiteRT choose their kernels by the features
of the processor and cannot be limited, so they are not compared here.
"""

from __future__ import annotations

import importlib.util
import json
from functools import partial
from typing import Any

import torch

from bench.common import Check, child
from bench.serving.common import Call, Measured, Setting, noise, ratios, spread, turns
from dqt.program.program import Program
from dqt.runtime import Runtime
from dqt.runtime.peers import PEERS, bind
from dqt.testing.zoo import torchvision

NETWORK, ISA = "resnet50", "avx2"
LIMITED = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
FASTER, FEWER = 2.0, (4, 2)


def measure(setting: Setting) -> Measured:
    """Times in turns; torch limited to AVX2 is a process of its own, which measures both there."""
    found = {
        "as it is": _measured(setting.seconds, str(setting.path(NETWORK))),
        "limited": child("bench.serving.avx2", str(setting.seconds), str(setting.path(NETWORK)), **LIMITED),
    }
    print(found, flush=True)
    checks = [
        Check(
            f"{NETWORK}, time of torch's float network ({label}) over that of {ISA} kernels at 8 bits",
            entry["fastest float / dqt"]["median"],
            ">=",
            FASTER,
        )
        for label, entry in (("AVX2 alone", found["limited"]), ("whatever it finds", found["as it is"]))
    ]
    return found, checks


def _measured(seconds: float, path: str) -> dict[str, Any]:
    torch.set_num_threads(1)
    model = torchvision().models.get_model(NETWORK, weights=None).eval()
    x = noise(NETWORK)
    run = Runtime(path, threads=1, isa=ISA)
    calls: dict[str, Call] = {"dqt": partial(run, x, 8)}
    calls |= {f"dqt, {bits} bits": partial(run, x, bits) for bits in FEWER}
    if importlib.util.find_spec("openvino"):
        program = Program.load(path)
        calls["OpenVINO, 8 bits"] = bind(PEERS, "openvino", program, x, run(x, 8), 1)
    last = torch.from_numpy(x).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        calls["float, channels first"] = partial(model, torch.from_numpy(x))
        first = turns(calls, seconds)
        model.to(memory_format=torch.channels_last)
        second = turns({"dqt": calls["dqt"], "float, channels last": partial(model, last)}, seconds)
    over = {
        "float, channels first / dqt": ratios(first["float, channels first"], first["dqt"]),
        "float, channels last / dqt": ratios(second["float, channels last"], second["dqt"]),
    }
    others = {label for label in first if label.endswith("bits")}
    peers = {f"{label} / dqt": ratios(first[label], first["dqt"]) for label in sorted(others)}
    fastest = min(over.values(), key=lambda values: sorted(values)[len(values) // 2])
    return {
        "capability": torch.backends.cpu.get_cpu_capability(),
        "ms": {label: spread(values) for label, values in (first | second).items()},
        **{label: spread(values) for label, values in (over | peers).items()},
        "fastest float / dqt": spread(fastest),
    }


if __name__ == "__main__":
    import sys

    print(json.dumps(_measured(float(sys.argv[1]), sys.argv[2])))
