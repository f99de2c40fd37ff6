#!/usr/bin/env bash
# Guess: safetensors stores the values of an array; one that is not contiguous is copied or, as with torch, refused.
# Seen:  safetensors.numpy writes the bytes as they lie from the array's first one, under the array's shape. A transposed,
#        a Fortran-ordered and a strided array come back with other values, without error or warning. safetensors.torch
#        refuses the same tensors with a ValueError. np.ascontiguousarray before saving helps.
# With:  safetensors 0.8.0, numpy 2.4.6, torch 2.13.0, Python 3.11, x86-64.
set -euo pipefail
t=$(mktemp -d)
trap 'rm -rf "$t"' EXIT
python3 -m venv "$t/venv"
"$t/venv/bin/pip" --disable-pip-version-check install -q safetensors==0.8.0 numpy==2.4.6 torch==2.13.0
cd "$t"
venv/bin/python -W error - <<'PY'
import sys

import numpy as np
import torch
from safetensors import numpy as for_numpy
from safetensors import torch as for_torch

rows = np.arange(6, dtype=np.int32).reshape(2, 3)
arrays = {"transposed": rows.T, "Fortran order": np.asfortranarray(rows), "every second": np.arange(12)[::2]}


def stored(array):
    return for_numpy.load(for_numpy.save({"x": array}))["x"]


def refused(array):
    try:
        for_torch.save({"x": torch.as_tensor(array)})
    except ValueError as error:
        return "non contiguous" in str(error)
    return False


as_seen = True
for name, array in arrays.items():
    again = stored(array)
    print(f"{name}: saved {array.tolist()}, loaded {again.tolist()}; torch refuses it: {refused(array)}")
    in_memory = array.ravel(order="K") if name != "every second" else array.base[: array.size]
    as_seen &= again.shape == array.shape and again.ravel().tolist() == in_memory.tolist()
    as_seen &= not np.array_equal(again, array) and refused(array)
    as_seen &= np.array_equal(stored(np.ascontiguousarray(array)), array)
sys.exit(not as_seen)
PY
