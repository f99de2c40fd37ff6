#!/usr/bin/env bash
# Guess: every optimizer counts its in-place edit of a parameter in the parameter's `_version`, as autograd and caches of what is
#        computed from weights rely on.
# Seen:  with fused=True, torch's AdamW, Adam and SGD change a parameter and leave `_version` as it was. The foreach and the plain
#        forms of the same optimizers raise it. Whoever tells "unchanged" by data_ptr and _version keeps stale weights.
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


def step(kind, **options):
    """Whether a step changed the weight, and by how much its version rose."""
    weight = torch.nn.Parameter(torch.ones(3))
    weight.grad = torch.ones(3)
    optimizer = getattr(torch.optim, kind)([weight], lr=0.1, **options)
    before = weight._version
    optimizer.step()
    return bool((weight != 1).all()), weight._version - before


as_stated = True
for kind in ("AdamW", "Adam", "SGD"):
    for name, options in (("fused", {"fused": True}), ("foreach", {"foreach": True}), ("plain", {"foreach": False})):
        changed, rise = step(kind, **options)
        print(f"{kind:5} {name:7} weight changed: {changed}, _version rose by {rise}")
        as_stated &= changed and (rise == 0) == (name == "fused")
sys.exit(not as_stated)
PY
