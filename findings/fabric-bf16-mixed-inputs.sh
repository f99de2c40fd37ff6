#!/usr/bin/env bash
# Guess: Fabric's "bf16-mixed" is torch.autocast around forward: inputs stay float32, and each operator chooses its type.
# Seen:  before forward, Fabric casts every float tensor among the arguments to bfloat16. A forward that does arithmetic before its
#        first layer loses what float32 keeps: 257 becomes 256, time steps 1000 and 1001 become one, a
#        regression target passed to forward is rounded. Under torch.autocast alone, forward sees float32.
# With:  lightning-fabric 2.6.6, torch 2.13.0, numpy 2.4.6, Python 3.11.
# Code:  lightning_fabric/plugins/precision/amp.py, MixedPrecision.convert_input.
set -euo pipefail
t=$(mktemp -d)
trap 'rm -rf "$t"' EXIT
python3 -m venv "$t/venv"
"$t/venv/bin/pip" --disable-pip-version-check install -q lightning-fabric==2.6.6 torch==2.13.0 numpy==2.4.6
cd "$t"
venv/bin/python -W ignore - <<'PY'
import sys

import torch
from lightning_fabric import Fabric


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)

    def forward(self, x):
        self.seen = (str(x.dtype), x[0].tolist(), str(self.layer.weight.dtype))
        return self.layer(x)


x = torch.tensor([[255.0, 257.0, 1000.0, 1001.0]])
net = Net()
with torch.autocast("cpu", dtype=torch.bfloat16):
    net(x)
autocast = net.seen
Fabric(accelerator="cpu", devices=1, precision="bf16-mixed").setup(net)(x)
fabric = net.seen
print("given", x.tolist(), "forward sees under autocast", autocast, "under Fabric", fabric)
same = autocast == ("torch.float32", x[0].tolist(), "torch.float32")
sys.exit(not (same and fabric == ("torch.bfloat16", [255.0, 256.0, 1000.0, 1000.0], "torch.float32")))
PY
