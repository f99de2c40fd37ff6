#!/usr/bin/env bash
# Guess: fake quantization trains with the integers that real quantization gives; both round ties to even.
# Seen:  torch.fake_quantize_per_tensor_affine rounds x / scale and adds the zero point; torch.quantize_per_tensor adds the zero
#        point and then rounds. With an odd zero point, every tie differs by one step: 0.5 is 0 in training and 1 in the real
#        tensor, 1.5 is 2 and 1. With an even zero point they agree. The per-channel functions differ in the same way.
# With:  torch 2.13.0, numpy 2.4.6, Python 3.11, x86-64 on CPU.
set -euo pipefail
t=$(mktemp -d)
trap 'rm -rf "$t"' EXIT
python3 -m venv "$t/venv"
"$t/venv/bin/pip" --disable-pip-version-check install -q torch==2.13.0 numpy==2.4.6
cd "$t"
venv/bin/python -W ignore - <<'PY'
import sys

import torch

x = torch.tensor([-2.5, -1.5, -0.5, 0.0, 0.4, 0.5, 0.6, 1.5, 2.5])


def real(zero):
    return (torch.quantize_per_tensor(x, 1.0, zero, torch.quint8).int_repr().int() - zero).tolist()


def fake(zero):
    return torch.fake_quantize_per_tensor_affine(x, 1.0, zero, 0, 255).int().tolist()


def real_channels(zeros):
    rows, scales = x.expand(2, -1).contiguous(), torch.ones(2)
    y = torch.quantize_per_channel(rows, scales, torch.tensor(zeros), 0, torch.quint8).int_repr().int()
    return (y - torch.tensor(zeros)[:, None]).tolist()


even = [-2, -2, 0, 0, 0, 0, 1, 2, 2]
odd = [-3, -1, -1, 0, 0, 1, 1, 1, 3]
for zero in (4, 5):
    print(f"zero point {zero}, scale 1, of {x.tolist()}: fake {fake(zero)} real {real(zero)}")
print("per channel, zero points 4 and 5:", real_channels([4, 5]))
same = fake(4) == fake(5) == real(4) == even and real(5) == odd and real_channels([4, 5]) == [even, odd]
sys.exit(not same)
PY
