"""Layers that carry a width: what convolution and matrix product share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dqt.arith.bounds import INT32, Bound, dot_bound
from dqt.arith.fixed import requantize
from dqt.arith.nested import (
    MAX_EXPONENT,
    limits,
    narrow_activation,
    narrow_weight,
    nearest_weight,
    weight_midpoints,
)
from dqt.arith.plan import Layer, Pair, Space
from dqt.program.checks import check_rounding, prove_product
from dqt.program.errors import ProgramError, require
from dqt.program.operator import Scope
from dqt.program.planned import Planned
from dqt.program.schema import check_shape, size
from dqt.program.values import Int8, Int32, Int64, Value

if TYPE_CHECKING:
    from dqt.program.execute import Execution


@dataclass(frozen=True, eq=False)
class Layered(Planned):
    """A product with weights at widths (bw, ba), requantized: ``clamp((acc * m + c) >> shift, lo, hi)``.

    ``acc[o] = sum T_bw(weight)[o] * (T_ba(q) - zero)``; then a row of ``m`` and ``c`` (:func:`row_of`) requantizes to
    ``[lo, hi]`` (docs/numerics.md, equations 4, 6 and 8, and 34 to 36).

    Attributes:
        layer: its name in the space of plans.
        weight: int8 ``[O, ...]``, master codes.
        m: int32, c: int64 ``[rows, O]``: one row, one for each width, or those of :func:`row_pairs`.
        nearest: weights are narrowed by the nearest rule, not by the balanced midpoint.
        weight_exponents, input_exponents: for each width of the space the ``e`` with which it reads a range of ``2^-e``
            of the master's; () is 0 for all.
    """

    x: str
    out: str
    weight: Int8
    m: Int32
    c: Int64
    shift: int
    lo: int
    hi: int
    nearest: bool = field(default=False, kw_only=True)
    weight_exponents: tuple[int, ...] = field(default=(), kw_only=True)
    input_exponents: tuple[int, ...] = field(default=(), kw_only=True)

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
            yield b, self.bound_at(scope.space, b, scope.values[self.x].zero)

    def bound_at(self, space: Space, b: int, zero: int) -> Bound:
        """The accumulator's bound at weight width ``b``; ``zero``: of its input."""
        e = exponent(self.weight_exponents, space, b)
        return layer_bound(self.weight, space.master, b, zero, nearest=self.nearest, e=e)

    def prove(self, scope: Scope) -> None:
        """Accumulators fit int32, and ``acc * m + c`` int64, at every width; see :meth:`Operator.prove`."""
        for b, bound in self.bounds(scope):
            if bound.bits > 32:
                reach = np.maximum(-bound.lo, bound.hi)
                raise ProgramError(
                    f"at {b} bits the accumulator of channel {reach.argmax()} reaches {reach.max()}, beyond int32 "
                    f"({INT32}): split the layer or narrow its weights"
                )
            rows = sorted({row_of(scope.space, self.m, (b, ba)) for ba in scope.space.widths})
            prove_product(bound.lo, bound.hi, self.m[rows], self.c[rows], f"at {b} bits ")

    def check_weights(self, scope: Scope) -> None:
        """Weight codes inside the master's range, legal counts of rows of ``m`` and ``c``, a legal clamp."""
        check_shape(self.weight.shape, "weight")
        check_rounding(self, scope)
        least, most = limits(scope.space.master, signed=True)
        if scope.space.master < 8:
            outside = bool(((self.weight < least) | (self.weight > most)).any())
            bits = scope.space.master
            require(not outside, f"a weight is not in [{least}, {most}], the signed range of {bits} bits")
        count, widths = self.weight.shape[0], scope.space.widths
        shapes = tuple((rows, count) for rows in sorted({1, len(widths), len(row_pairs(widths))}))
        for name, rows in (("m", self.m), ("c", self.c)):
            require(rows.shape in shapes, f"{name} of shape {rows.shape}, need one of {shapes}")
        require(self.m.shape == self.c.shape, f"m has shape {self.m.shape} and c {self.c.shape}: need the same rows")
        self._check_exponents(scope)
        low = (1 << scope.space.master - self.kept(scope)) - 1
        if low:
            kept = f"the top {self.kept(scope)} that a program packed to {scope.space.packed} bits keeps"
            require(not bool((self.weight & np.int8(low)).any()), f"a weight has bits below {kept}")

    def kept(self, scope: Scope) -> int:
        """The top bits of the master's that its weights need, at every width that they may run at.

        A width ``b`` with exponent ``e`` reads the top ``b + e`` of them, and by the nearest rule one more.
        """
        widths, n = scope.widths(self.layer), scope.space.master
        if widths[-1] == n:
            return n
        return max(min(n, b + exponent(self.weight_exponents, scope.space, b) + self.nearest) for b in widths)

    def _check_exponents(self, scope: Scope) -> None:
        space, x = scope.space, scope.values[self.x]
        for name in ("weight_exponents", "input_exponents"):
            found = getattr(self, name)
            most = tuple(min(MAX_EXPONENT, space.master - b) for b in space.widths)
            legal = not found or (
                len(found) == len(most) and all(0 <= e <= k for e, k in zip(found, most, strict=True))
            )
            require(legal, f"{name} {found}, need () or one for each width, 0 to {most}")
        inside = not any(self.input_exponents) or 0 <= x.zero <= x.hi
        require(inside, f"input_exponents {self.input_exponents}, but the zero {x.zero} of {x.name} is no code")

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
            bound = self.bound_at(run.space, b, run.value(self.x).zero)
            e = exponent(self.weight_exponents, run.space, b)
            return run.xp.factor(narrowed(self.weight, run.n, b, nearest=self.nearest, e=e), bound.magnitude)

        return run.constant((self.out, "weight", b), made)

    def narrowed_input(self, run: Execution, x: Any, ba: int) -> Any:
        """``T_ba(q) - zero``, integers."""
        value, e = run.value(self.x), exponent(self.input_exponents, run.space, ba)
        wide = run.xp.int16 if 0 <= value.zero <= value.hi else run.xp.int64  # a zero far outside takes more than 16
        return narrow_activation(wide(x), run.n, ba, e, value.zero) - value.zero

    def requantized(self, run: Execution, acc: Any, pair: Pair) -> Any:
        """Accumulators, int64 ``[N, O, ...]`` or ``[..., O]``, as integers of the output."""
        k = row_of(run.space, self.m, pair)
        m, c = (self._row(run, name, k) for name in ("m", "c"))
        return requantize(acc, m, c, self.shift, self.lo, self.hi)

    def _row(self, run: Execution, name: str, k: int) -> Any:
        """Row ``k`` of ``m`` or ``c``, int64, shaped to broadcast over the accumulators."""
        shape = (-1, *(1,) * (self.weight.ndim - 2))
        rows = getattr(self, name)
        return run.constant((self.out, name, k), lambda: run.xp.constant(rows[k].astype(np.int64).reshape(shape)))


def exponent(exponents: tuple[int, ...], space: Space, b: int) -> int:
    """The exponent of width ``b``: none are 0 for all."""
    return exponents[space.widths.index(b)] if exponents else 0


def narrowed(weight: Int8, n: int, b: int, *, nearest: bool = False, e: int = 0) -> Int8:
    """``T_b(weight)``, int8 of the same shape: the balanced midpoint, or the nearest rule (equations 34 and 35)."""
    if nearest:
        result: Int8 = nearest_weight(weight.astype(np.int16), n, b, e).astype(np.int8)
    else:
        result = narrow_weight(weight, n, b, weight_midpoints(n, b, weight.shape, e), e)
    return result


def layer_bound(weight: Int8, n: int, b: int, zero: int, *, nearest: bool = False, e: int = 0) -> Bound:
    """Accumulators of a layer at weight width ``b``, over every input and every activation width (equation 14).

    ``T_ba(q) - zero`` lies in ``[-zero, 2^n - 1 - zero]`` whatever the width and exponent; padding contributes 0.
    """
    lowest, highest = min(0, -zero), max(0, limits(n, signed=False)[1] - zero)
    return dot_bound(narrowed(weight, n, b, nearest=nearest, e=e), lowest, highest)


def row_pairs(widths: tuple[int, ...]) -> tuple[Pair, ...]:
    """The pairs ``(bw, ba)`` whose own constants the rows of ``m`` and ``c`` are, where there are most of them.

    First those of one width; then weights narrower than the master's activations, then activations narrower than the
    master's weights.
    """
    low, master = widths[:-1], widths[-1]
    return (*((b, b) for b in widths), *((b, master) for b in low), *((master, b) for b in low))


def row_of(space: Space, m: npt.NDArray[Any], pair: Pair) -> int:
    """The row of ``m`` and ``c`` that serves a pair of widths.

    The only row; the row of ``min(bw, ba)``, where there is one for each width; otherwise that of the same smaller
    width in :func:`row_pairs`, on the same side.
    """
    if len(m) == 1:
        return 0
    (bw, ba), count = pair, len(space.widths)
    row = space.widths.index(min(pair))
    if bw == ba or len(m) == count:
        return row
    return row + (count if bw < ba else 2 * count - 1)
