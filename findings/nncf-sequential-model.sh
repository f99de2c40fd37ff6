#!/usr/bin/env bash
# Guess: nncf.quantize takes any torch module, so a model that is itself an nn.Sequential, too.
# Seen:  NotImplementedError: Module [HookStorage] is missing the required "forward" function. The hooks are kept in a child module
#        of the model, and Sequential.forward calls every child in turn, the storage of hooks last. The same layers inside
#        of a module with a forward of its own are quantized.
# With:  nncf 3.4.0, torch 2.13.0, Python 3.11. No compiler is in the path here: with one, nncf builds an extension first.
# Code:  nncf/torch/function_hook/hook_storage.py, HookStorage; wrapper.py, wrap_model, adds it to the model.
set -euo pipefail
t=$(mktemp -d)
trap 'rm -rf "$t"' EXIT
python3 -m venv "$t/venv"
"$t/venv/bin/pip" --disable-pip-version-check install -q nncf==3.4.0 torch==2.13.0
cd "$t"
NNCF_CI=true PATH="$t/none" "$t/venv/bin/python" -W ignore - <<'PY'
import sys

import nncf
import torch
from torch import nn


class Around(nn.Module):
    def __init__(self, layers):
        super().__init__()
        self.layers = layers

    def forward(self, x):
        return self.layers(x)


def quantized(model):
    samples = [torch.rand(1, 3, 8, 8) for _ in range(4)]
    try:
        net = nncf.quantize(model.eval(), nncf.Dataset(samples), subset_size=4)
        return "quantized, output " + str(list(net(samples[0]).shape))
    except NotImplementedError as error:
        return f"NotImplementedError: {error}"


def layers():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))


alone, inside = quantized(layers()), quantized(Around(layers()))
print("the Sequential itself:", alone, "\nthe same in a module:", inside)
expected = 'NotImplementedError: Module [HookStorage] is missing the required "forward" function'
sys.exit(not (alone.startswith(expected) and inside == "quantized, output [1, 2]"))
PY
