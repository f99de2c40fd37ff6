"""Normalization by a root mean square: layer norm, RMS norm, group norm, instance norm, L2 norms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dqt.arith.fixed import requantize
from dqt.arith.roots import (
    ENERGY_BITS,
    UNIT_BITS,
    added_energy,
    energy,
    inverse_root,
    normalize,
    root_table,
    row_shift,
    shifted,
)  # fmt: skip
from dqt.program.checks import check_rounding, prove_product, prove_within
from dqt.program.errors import require
from dqt.program.operator import Operator, Scope
from dqt.program.schema import size
from dqt.program.values import Int32, Int64, Shape, Value

if TYPE_CHECKING:
    from dqt.program.execute import Execution

MOST_FRACTION = 62
MOST_VALUES = 1 << UNIT_BITS
"""Of one row: a normalized value is at most its root, so that it fits int32."""


@dataclass(frozen=True, eq=False)
class Normalize(Operator):
    """``clamp((m * u + c) >> shift, lo, hi)`` of values ``u`` with mean 0 and mean square 1 in units of ``2^-20``.

    A row is what is normalized together: dimensions ``axis`` and after it, the first of them cut into ``groups``. Its
    integers ``v``, which are ``q - zero`` or that shifted right, give ``u = (count * v - total) / sqrt(w)`` with
    ``w = count * sum v^2 - total^2 + E`` and ``E = count^2 * epsilon / 2^fraction`` (docs/numerics.md, equations 22 to
    24).

    Attributes:
        center: subtract the mean; ``False``: ``total`` is 0 (RMS norm).
        epsilon, fraction: the eps, ``epsilon / 2^fraction`` of the input's squared scale.
        m: int32 of as many dimensions as ``x``, each as long as there, or 1.   c: int64 of the same shape.
    """

    x: str
    out: str
    axis: int
    groups: int
    center: bool
    epsilon: int
    fraction: int
    m: Int32
    c: Int64
    shift: int
    lo: int
    hi: int

    def output_shape(self, scope: Scope) -> Shape:
        """The input's; see :meth:`Operator.output_shape`."""
        check_rounding(self, scope)
        x = scope.ranked(self.x)
        require(0 <= self.axis < len(x.shape), f"axis {self.axis}, need 0 to {len(x.shape) - 1}")
        length = x.shape[self.axis]
        divides = 1 <= self.groups <= length and length % self.groups == 0
        require(divides, f"{self.groups} groups do not divide dimension {self.axis} of {x.shape}")
        require(self.epsilon >= 0, f"epsilon {self.epsilon}, need 0 or more")
        require(0 <= self.fraction <= MOST_FRACTION, f"fraction {self.fraction}, need 0 to {MOST_FRACTION}")
        fits = len(self.m.shape) == len(x.shape) and all(
            d in (1, n) for d, n in zip(self.m.shape, x.shape, strict=True)
        )
        require(fits, f"m of shape {self.m.shape}, need the dimensions of {x.shape}, each as long or 1")
        require(self.c.shape == self.m.shape, f"m has shape {self.m.shape} and c {self.c.shape}: need the same")
        return x.shape

    def prove(self, scope: Scope) -> None:
        """See :meth:`Operator.prove`."""
        count = self.count(scope.values[self.x])
        prove_within(count, MOST_VALUES, "the values of a row")
        prove_within(added_energy(count, self.epsilon, self.fraction), (1 << (ENERGY_BITS - 1)) - 1, "eps")
        top = np.array([self.reach(count)])
        prove_product(-top, top, self.m.reshape(-1, 1), self.c.reshape(-1, 1), "")

    def count(self, x: Value) -> int:
        """How many values a row has."""
        return size(x.shape[self.axis :]) // self.groups

    @staticmethod
    def reach(count: int) -> int:
        """The largest magnitude of a normalized value of a row of so many: ``sqrt(count)``, and what roots are off."""
        root = int(np.ceil(np.sqrt(count)))
        return (root << UNIT_BITS) + root

    def run(self, run: Execution) -> Any:
        """Integers (docs/numerics.md, equations 22 to 24 and 8)."""
        x, out, xp, value = run.data[self.x], run.empty(self.out), run.xp, run.value(self.x)
        table = run.constant(("roots",), lambda: xp.constant(root_table()))
        m = run.constant((self.out, "m"), lambda: xp.constant(self.m.astype(np.int64)))
        c = run.constant((self.out, "c"), lambda: xp.constant(self.c))
        rows, count = (*value.shape[: self.axis], self.groups), self.count(value)
        added = added_energy(count, self.epsilon, self.fraction)
        for some in xp.blocks(len(out), size(value.shape)):
            v = (xp.int64(x[some]) - value.zero).reshape(-1, *rows, count)
            k = row_shift(xp.largest(abs(v), (-1,)), count)
            v = shifted(v, k)
            total = v.sum(-1, keepdims=True) * int(self.center)
            w = energy((v * v).sum(-1, keepdims=True), total, count, added, k)
            u = normalize(v * count - total, *inverse_root(w, table)).reshape(-1, *value.shape)
            out[some] = requantize(u, m, c, self.shift, self.lo, self.hi)
        return out
