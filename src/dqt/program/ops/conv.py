"""Convolution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dqt.arith.plan import Pair
from dqt.program.checks import check_range, check_real_zero, check_windows
from dqt.program.errors import require
from dqt.program.layered import Layered
from dqt.program.operator import Scope
from dqt.program.schema import MAX_ELEMENTS, size
from dqt.program.values import Shape

if TYPE_CHECKING:
    from dqt.program.execute import Execution


@dataclass(frozen=True, eq=False)
class Conv(Layered):
    """2-d convolution of ``(C, H, W)``; padding contributes 0. See :class:`Layered`.

    Attributes:
        weight: int8 ``[O, I / groups, KH, KW]``.
        padding: top, bottom, left, right.
    """

    stride: tuple[int, int]
    padding: tuple[int, int, int, int]
    dilation: tuple[int, int]
    groups: int

    def output_shape(self, scope: Scope) -> Shape:
        """``(O, OH, OW)``; see :meth:`Operator.output_shape`."""
        x = scope.codes(self.x)
        if any(self.padding):
            check_real_zero(x, scope)
        require(self.weight.ndim == 4, f"weight of shape {self.weight.shape}, need [O, I / groups, KH, KW]")
        self.check_weights(scope)
        count, depth, *kernel = self.weight.shape
        rows, columns = check_windows(x, tuple(kernel), self.stride, self.padding, self.dilation)
        check_range("groups", (self.groups,), 1)
        channels = x.shape[0]
        require(
            depth * self.groups == channels, f"{self.groups} groups of {depth} channels, but the input has {channels}"
        )
        require(count % self.groups == 0, f"{count} output channels do not divide into {self.groups} groups")
        patch = channels * size(tuple(kernel)) * columns
        require(patch <= MAX_ELEMENTS, f"one output row reads {patch} elements, the most is {MAX_ELEMENTS}")
        return (count, rows, columns)

    def at_widths(self, run: Execution, x: Any, pair: Pair, out: Any, samples: Any) -> None:
        """Block by block; see :meth:`Layered.at_widths`."""
        xp, factor = run.xp, self.factor(run, pair[0])
        top, bottom, left, right = self.padding
        result = run.xp.empty((len(x), *out.shape[1:]), run.value(self.out).dtype)
        patch = size(x.shape[1:2]) * size(self.weight.shape[2:]) * size(out.shape[2:])
        for some in xp.blocks(len(x), patch):
            q = self.narrowed_input(run, x[some], pair[1])
            if any(self.padding):
                q = xp.pad(q, ((0, 0), (0, 0), (top, bottom), (left, right)))
            for rows, acc in xp.convolve(q, factor, self.stride, self.dilation, self.groups):
                result[some, :, rows] = self.requantized(run, acc, pair)
        out[samples] = result
