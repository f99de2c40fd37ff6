"""What operators on two values share: they broadcast as in NumPy, and run block by block."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from dqt.program.checks import Rounded, check_rounding
from dqt.program.errors import ProgramError
from dqt.program.operator import Scope
from dqt.program.schema import size
from dqt.program.values import Shape

if TYPE_CHECKING:
    from dqt.program.execute import Execution


class Binary(Rounded, Protocol):
    """An operator on the values ``a`` and ``b``."""

    @property
    def a(self) -> str:
        """The first operand."""
        ...

    @property
    def b(self) -> str:
        """The second operand."""
        ...


def broadcast_shape(op: Binary, scope: Scope) -> Shape:
    """Check ``op``; the shape of its result."""
    check_rounding(op, scope)
    a, b = scope.ranked(op.a), scope.ranked(op.b)
    try:
        return np.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        raise ProgramError(f"shapes {a.shape} and {b.shape} do not broadcast") from None


def each_block(op: Binary, run: Execution, compute: Callable[[Any, Any], Any]) -> Any:
    """``compute(a, b)`` on int64 operands that have the output's number of dimensions, block by block."""
    out, xp = run.empty(op.out), run.xp
    a, b = (
        q.reshape(len(q), *(1,) * (out.ndim - q.ndim), *q.shape[1:]) for q in (run.data[name] for name in (op.a, op.b))
    )
    for some in xp.blocks(len(out), size(out.shape[1:])):
        out[some] = compute(xp.int64(a[some]), xp.int64(b[some]))
    return out
