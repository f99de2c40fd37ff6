"""Matrix product of two activations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dqt.arith.bounds import INT32, Bound, activation_product_bound
from dqt.arith.fixed import requantize
from dqt.arith.nested import narrow_activation
from dqt.arith.plan import Layer
from dqt.program.checks import check_rounding, prove_product, prove_within
from dqt.program.errors import ProgramError, require
from dqt.program.operator import Scope
from dqt.program.planned import Planned
from dqt.program.schema import check_shape, size
from dqt.program.values import Shape, Value

if TYPE_CHECKING:
    from dqt.program.execute import Execution


@dataclass(frozen=True)
class MatMul(Planned):
    """``clamp((acc * m + c) >> shift, lo, hi)`` with ``acc = sum_k (T(a[.., i, k]) - z_a) * (T(b[.., k, j]) - z_b)``.

    A layer of the width plan without weights: its pair of widths is that of ``a`` and of ``b``, which are codes, both
    narrowed by the nearest rule (docs/numerics.md, equations 6, 8 and 21). What stands before the last two dimensions
    broadcasts as in NumPy.
    """

    a: str
    b: str
    out: str
    m: int
    c: int
    shift: int
    lo: int
    hi: int

    def output_shape(self, scope: Scope) -> Shape:
        """``(.., I, J)`` of ``(.., I, K)`` and ``(.., K, J)``; see :meth:`Operator.output_shape`."""
        check_rounding(self, scope)
        prove_within(abs(self.m), INT32, "m")
        a, b = scope.codes(self.a), scope.codes(self.b)
        for x in (a, b):
            require(0 <= x.zero <= x.hi, f"the zero {x.zero} of {x.name} is no code")
        matrices = len(a.shape) >= 2 and len(b.shape) >= 2 and a.shape[-1] == b.shape[-2]
        require(matrices, f"shapes {a.shape} and {b.shape} do not multiply: need (.., I, K) and (.., K, J)")
        try:
            lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        except ValueError:
            raise ProgramError(f"shapes {a.shape} and {b.shape} do not broadcast before their matrices") from None
        check_shape((*lead, *a.shape[-2:]), "the first operand, broadcast,")
        check_shape((*lead, *b.shape[-2:]), "the second operand, broadcast,")
        return (*lead, a.shape[-2], b.shape[-1])

    def counts(self, values: Mapping[str, Value], *, edge: bool = False) -> Layer:
        """See :meth:`Planned.counts`: no weights, and the inputs of both operands."""
        outputs = size(values[self.out].shape)
        inputs = size(values[self.a].shape) + size(values[self.b].shape)
        return Layer(self.layer, outputs * values[self.a].shape[-1], 0, inputs, outputs, edge)

    def bounds(self, scope: Scope) -> Iterator[tuple[int, Bound]]:
        """See :meth:`Planned.bounds`: one bound serves all widths."""
        yield scope.space.master, self.bound(scope.values)

    def bound(self, values: Mapping[str, Value]) -> Bound:
        """What the accumulator may be, over every input and every width (equation 21)."""
        a, b = values[self.a], values[self.b]
        lo, hi = activation_product_bound(_reach(a), _reach(b), a.shape[-1])
        return Bound(np.array([lo]), np.array([hi]))

    def prove(self, scope: Scope) -> None:
        """See :meth:`Operator.prove`."""
        bound = self.bound(scope.values)
        prove_within(bound.magnitude, INT32, "the accumulator")
        prove_product(bound.lo, bound.hi, np.array([self.m], dtype=np.int32), np.array([self.c]), "")

    def run(self, run: Execution) -> Any:
        """Samples of equal widths run together; each gets what it would get alone."""
        out, magnitude = run.empty(self.out), self.bound(run.machine.values).magnitude
        for pair, samples in run.groups(self.layer):
            a, b = (self._operand(run, *each, samples) for each in zip((self.a, self.b), pair, strict=True))
            acc = run.xp.product(a, b, magnitude)
            run.put(self.out, out, samples, requantize(acc, self.m, self.c, self.shift, self.lo, self.hi))
        return out

    def _operand(self, run: Execution, name: str, width: int, samples: Any) -> Any:
        """``T_b(q) - zero`` with the output's number of dimensions."""
        q, value, rank = run.data[name][samples], run.value(name), len(run.value(self.out).shape)
        q = q.reshape(len(q), *(1,) * (rank - len(value.shape)), *value.shape)
        return narrow_activation(run.xp.int64(q), run.n, width) - value.zero


def _reach(value: Value) -> tuple[int, int]:
    """The smallest and the largest of ``T_b(q) - zero`` at any width: codes stay in their interval."""
    return value.lo - value.zero, value.hi - value.zero
