"""Layers that carry a width: what convolution and matrix product share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dqt.arith.bounds import INT32, Bound, dot_bound
from dqt.arith.fixed import requantize
from dqt.arith.nested import limits, narrow_activation, narrow_weight, weight_midpoints
from dqt.arith.plan import Layer, Pair, Space
from dqt.program.checks import check_rounding, prove_product
from dqt.program.errors import ProgramError, require
from dqt.program.operator import Operator, Scope
from dqt.program.schema import check_shape, size
from dqt.program.values import Int8, Int32, Int64, Value

if TYPE_CHECKING:
    from dqt.program.execute import Execution
    from dqt.program.program import Program


@dataclass(frozen=True, eq=False)
class Layered(Operator):
    """A product with weights at widths (bw, ba), requantized: ``clamp((acc * m + c) >> shift, lo, hi)``.

    ``acc[o] = sum T_bw(weight)[o] * (T_ba(q) - zero)``; then row ``widths.index(min(bw, ba))`` of ``m`` and ``c``, or
    the only row, requantizes to ``[lo, hi]`` (docs/numerics.md, equations 4, 6 and 8).

    Attributes:
        layer: its name in the space of plans.
        weight: int8 ``[O, ...]``, master codes.
        m: int32 ``[1 or widths, O]``.   c: int64 ``[1 or widths, O]``.
    """

    layer: str
    x: str
    out: str
    weight: Int8
    m: Int32
    c: Int64
    shift: int
    lo: int
    hi: int

    def counts(self, values: Mapping[str, Value], *, edge: bool = False) -> Layer:
        """What the plan space says of a layer, counted from its instruction.

        ``macs`` are those of a dense loop: outputs times taps, padding included; ``inputs`` and ``outputs`` are
        elements.
        """
        outputs = size(values[self.out].shape)
        taps = size(self.weight.shape[1:])
        return Layer(self.layer, outputs * taps, self.weight.size, size(values[self.x].shape), outputs, edge)

    def bounds(self, scope: Scope) -> Iterator[tuple[int, Bound]]:
        """The accumulator's bound at each weight width that the layer may run at."""
        for b in scope.widths(self.layer):
            yield b, layer_bound(self.weight, scope.space.master, b, scope.values[self.x].zero)

    def prove(self, scope: Scope) -> None:
        """Accumulators fit int32, and ``acc * m + c`` int64, at every width; see :meth:`Operator.prove`."""
        for b, bound in self.bounds(scope):
            if bound.bits > 32:
                reach = np.maximum(-bound.lo, bound.hi)
                raise ProgramError(
                    f"at {b} bits the accumulator of channel {reach.argmax()} reaches {reach.max()}, beyond int32 "
                    f"({INT32}): split the layer or narrow its weights"
                )
            rows = sorted({row_of(scope.space, self.m, low) for low in scope.space.widths if low <= b})
            prove_product(bound.lo, bound.hi, self.m[rows], self.c[rows], f"at {b} bits ")

    def check_weights(self, scope: Scope) -> None:
        """Weight codes inside the master's range, rows of ``m`` and ``c`` for one or all widths, a legal clamp."""
        check_shape(self.weight.shape, "weight")
        check_rounding(self, scope)
        least, most = limits(scope.space.master, signed=True)
        if scope.space.master < 8:
            outside = bool(((self.weight < least) | (self.weight > most)).any())
            bits = scope.space.master
            require(not outside, f"a weight is not in [{least}, {most}], the signed range of {bits} bits")
        count = self.weight.shape[0]
        shapes = ((1, count), (len(scope.space.widths), count))
        for name, rows in (("m", self.m), ("c", self.c)):
            require(rows.shape in shapes, f"{name} of shape {rows.shape}, need one of {shapes}")
        require(self.m.shape == self.c.shape, f"m has shape {self.m.shape} and c {self.c.shape}: need the same rows")

    def run(self, run: Execution) -> Any:
        """Samples of equal widths run together; each gets what it would get alone."""
        x, out = run.data[self.x], run.empty(self.out)
        for pair, samples in run.groups(self.layer):
            self.at_widths(run, x[samples], pair, out, samples)
        return out

    @abstractmethod
    def at_widths(self, run: Execution, x: Any, pair: Pair, out: Any, samples: Any) -> None:
        """Compute ``x``, codes of the samples that run at ``pair``, into ``out[samples]``."""

    def factor(self, run: Execution, b: int) -> Any:
        """``T_b(weight)`` in the float type that makes its products exact, on the device of the run."""

        def made() -> Any:
            bound = layer_bound(self.weight, run.n, b, run.value(self.x).zero)
            return run.xp.factor(narrowed(self.weight, run.n, b), bound.magnitude)

        return run.constant((self.out, "weight", b), made)

    def narrowed_input(self, run: Execution, x: Any, ba: int) -> Any:
        """``T_ba(q) - zero``, integers."""
        return narrow_activation(run.xp.int16(x), run.n, ba) - run.value(self.x).zero

    def requantized(self, run: Execution, acc: Any, pair: Pair) -> Any:
        """Accumulators, int64 ``[N, O, ...]`` or ``[..., O]``, as integers of the output."""
        k = row_of(run.space, self.m, min(pair))
        m, c = (self._row(run, name, k) for name in ("m", "c"))
        return requantize(acc, m, c, self.shift, self.lo, self.hi)

    def _row(self, run: Execution, name: str, k: int) -> Any:
        """Row ``k`` of ``m`` or ``c``, int64, shaped to broadcast over the accumulators."""
        shape = (-1, *(1,) * (self.weight.ndim - 2))
        rows = getattr(self, name)
        return run.constant((self.out, name, k), lambda: run.xp.constant(rows[k].astype(np.int64).reshape(shape)))


def narrowed(weight: Int8, n: int, b: int) -> Int8:
    """``T_b(weight)``, int8 of the same shape, with the balanced midpoint (equations 4 and 5)."""
    result: Int8 = narrow_weight(weight, n, b, weight_midpoints(n, b, weight.shape))
    return result


def layer_bound(weight: Int8, n: int, b: int, zero: int) -> Bound:
    """Accumulators of a layer at weight width ``b``, over every input and every activation width (equation 14).

    ``T_ba(q) - zero`` lies in ``[-zero, 2^n - 1 - zero]`` whatever the width; padding contributes 0, which is inside.
    """
    return dot_bound(narrowed(weight, n, b), -zero, limits(n, signed=False)[1] - zero)


def row_of(space: Space, m: npt.NDArray[Any], b: int) -> int:
    """The row of ``m`` and ``c`` that serves ``b = min(bw, ba)``: its index among the widths, or the only row."""
    return 0 if len(m) == 1 else space.widths.index(b)


def accumulator_bits(program: Program) -> dict[str, int]:
    """Layer -> two's complement bits that hold every accumulator it can produce, at any of its widths."""
    scope = Scope.of(program)
    layers = (op for op in program.ops if isinstance(op, Layered))
    return {op.layer: max(bound.bits for _, bound in op.bounds(scope)) for op in layers}
