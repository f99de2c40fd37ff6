"""Proofs that no integer of a program overflows (docs/numerics.md, section 4)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import numpy.typing as npt

from dqt.arith.bounds import INT32, INT64, Bound, dot_bound, product_fits
from dqt.arith.nested import limits, narrow_weight, weight_midpoints
from dqt.arith.plan import Space
from dqt.program.graph import Layered, Scope
from dqt.program.ops import Add, AvgPool, Int8, Multiply, Op, Rescale
from dqt.program.program import ProgramError

if TYPE_CHECKING:
    from dqt.program.program import Program


def narrowed(weight: Int8, n: int, b: int) -> Int8:
    """``T_b(weight)``, int8 of the same shape, with the balanced midpoint (equations 4 and 5)."""
    result: Int8 = narrow_weight(weight, n, b, weight_midpoints(n, b, weight.shape))
    return result


def layer_bound(weight: Int8, n: int, b: int, zero: int) -> Bound:
    """Accumulators of a layer at weight width ``b``, over every input and every activation width (equation 14).

    ``T_ba(q) - zero`` lies in ``[-zero, 2^n - 1 - zero]`` whatever the width; padding contributes 0, which is inside.
    """
    return dot_bound(narrowed(weight, n, b), -zero, limits(n, signed=False)[1] - zero)


def row(space: Space, m: npt.NDArray[Any], b: int) -> int:
    """The row of ``m`` and ``c`` that serves ``b = min(bw, ba)``: its index among the widths, or the only row."""
    return 0 if len(m) == 1 else space.widths.index(b)


def accumulator_bits(program: Program) -> dict[str, int]:
    """Layer -> two's complement bits that hold every accumulator it can produce, at any of its widths."""
    scope = Scope.of(program)
    layers = (op for op in program.ops if isinstance(op, Layered))
    return {op.layer: max(bound.bits for _, bound in _bounds(op, scope)) for op in layers}


def prove(op: Op, scope: Scope) -> None:
    """Prove that every intermediate integer of one legal instruction fits: accumulators int32, the rest int64.

    Raises:
        ProgramError: it cannot be proved; the message names the channel and the bound.
    """
    if type(op) in PROOFS:
        PROOFS[type(op)](op, scope)


def _bounds(op: Layered, scope: Scope) -> Iterator[tuple[int, Bound]]:
    for b in scope.widths(op.layer):
        yield b, layer_bound(op.weight, scope.space.master, b, scope.values[op.x].zero)


def _prove_layer(op: Layered, scope: Scope) -> None:
    for b, bound in _bounds(op, scope):
        if bound.bits > 32:
            reach = np.maximum(-bound.lo, bound.hi)
            raise ProgramError(
                f"at {b} bits the accumulator of channel {reach.argmax()} reaches {reach.max()}, beyond int32 "
                f"({INT32}): split the layer or narrow its weights"
            )
        rows = sorted({row(scope.space, op.m, low) for low in scope.space.widths if low <= b})
        _prove_product(bound.lo, bound.hi, op.m[rows], op.c[rows], f"at {b} bits ")


def _prove_product(
    lo: npt.NDArray[np.int64], hi: npt.NDArray[np.int64], m: npt.NDArray[np.int32], c: npt.NDArray[np.int64], where: str
) -> None:
    """``acc * m + c`` fits int64 for each channel: the last dimension of all four (equation 15)."""
    if product_fits(lo, hi, m, c):
        return
    for i in range(len(lo)):
        if not product_fits(lo[i : i + 1], hi[i : i + 1], m[..., i : i + 1], c[..., i : i + 1]):
            raise ProgramError(f"{where}acc * m + c of channel {i} does not fit int64: its scale or bias is too large")


def _within(total: int, limit: int, what: str) -> None:
    if total > limit:
        raise ProgramError(f"{what} reaches {total}, the most is {limit}")


def _prove_add(op: Add, scope: Scope) -> None:
    q = scope.highest
    _within(max(abs(op.k1), abs(op.k2)), INT32, "a multiplier")
    _within(abs(op.k1) * q + abs(op.k2) * q + abs(op.k3), INT64, "k1*a + k2*b + k3")


def _prove_multiply(op: Multiply, scope: Scope) -> None:
    q = scope.highest
    _within(abs(op.k1), INT32, "the multiplier k1")
    total = abs(op.k1) * q * q + (abs(op.k2) + abs(op.k3)) * q + abs(op.k4)
    _within(total, INT64, "k1*a*b + k2*a + k3*b + k4")


def _prove_rescale(op: Rescale, scope: Scope) -> None:
    lo = np.zeros(len(op.m), dtype=np.int64)
    _prove_product(lo, lo + scope.highest, op.m, op.c, "")


def _prove_avg_pool(op: AvgPool, scope: Scope) -> None:
    zero, q = scope.values[op.x].zero, scope.highest
    area = int(np.ptp(op.rows, axis=1).max()) * int(np.ptp(op.columns, axis=1).max())
    _within(area * max(zero, q - zero), INT32, f"the sum over a window of {area} codes")
    lo, hi = np.array([-area * zero]), np.array([area * (q - zero)])
    _prove_product(lo, hi, op.m.reshape(-1, 1), op.c.reshape(-1, 1), "")


PROOFS: dict[type[Any], Callable[[Any, Scope], None]] = {
    **dict.fromkeys(get_args(Layered), _prove_layer),
    Add: _prove_add,
    Multiply: _prove_multiply,
    Rescale: _prove_rescale,
    AvgPool: _prove_avg_pool,
}
