"""Max pooling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dqt.program.checks import check_same_scale, check_windows
from dqt.program.errors import require
from dqt.program.operator import Operator, Scope
from dqt.program.values import Shape

if TYPE_CHECKING:
    from dqt.program.execute import Execution


@dataclass(frozen=True)
class MaxPool(Operator):
    """The largest integer of each window; padding (top, bottom, left, right) never wins. Keeps scale and zero."""

    x: str
    out: str
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]
    dilation: tuple[int, int]

    def output_shape(self, scope: Scope) -> Shape:
        """``(C, OH, OW)``; every window has a place that is not padding. See :meth:`Operator.output_shape`."""
        x = scope.ranked(self.x)
        check_same_scale(x, scope.values[self.out])
        counts = check_windows(x, self.kernel, self.stride, self.padding, self.dilation)
        for i, count in enumerate(counts):
            first = np.arange(count, dtype=np.int64) * self.stride[i] - self.padding[2 * i]
            skipped = -(np.minimum(first, 0) // self.dilation[i])
            inside = (skipped < self.kernel[i]) & (first + skipped * self.dilation[i] < x.shape[1 + i])
            alone = f"a window lies in the padding {self.padding} alone: use less padding"
            require(bool(inside.all()), alone)
        return (x.shape[0], *counts)

    def run(self, run: Execution) -> Any:
        """Padding is the smallest integer, which no window prefers to one of its own: a verified window has one."""
        out, (top, bottom, left, right) = run.empty(self.out), self.padding
        least = run.value(self.x).lo
        q = run.xp.pad(run.data[self.x], ((0, 0), (0, 0), (top, bottom), (left, right)), least)
        out[:] = least
        height, width = out.shape[2:]
        for i, j in np.ndindex(*self.kernel):
            y, z = i * self.dilation[0], j * self.dilation[1]
            end_y, end_z = y + (height - 1) * self.stride[0] + 1, z + (width - 1) * self.stride[1] + 1
            out = run.xp.maximum(out, q[:, :, y : end_y : self.stride[0], z : end_z : self.stride[1]])
        return out
