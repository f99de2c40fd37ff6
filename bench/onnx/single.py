"""In how many layers float32 rounds all sums as the integers do."""

from __future__ import annotations

import numpy as np

from dqt.export.alike import numbers
from dqt.program.layered import Layered, row_of
from dqt.program.program import Program


def layers(program: Program) -> dict[str, int]:
    """Layers of codes at the master width, and those whose channels all have numbers of float32."""
    values = {value.name: value for value in program.values}
    found = {"layers": 0, "exact_layers": 0}
    for op in program.ops:
        if isinstance(op, Layered) and values[op.out].coded:
            n, out = program.space.master, values[op.out]
            k, bound = row_of(program.space, op.m, (n, n)), op.bound_at(program.space, n, values[op.x].zero)
            made = numbers(op.m[k].astype(np.int64), op.c[k], bound, op.shift, out.zero, op.lo, op.hi)
            found["layers"] += 1
            found["exact_layers"] += made is not None
    return found
