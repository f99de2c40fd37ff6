"""Checks that several operators share."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from dqt.arith.bounds import product_fits
from dqt.program.errors import ProgramError, require
from dqt.program.operator import Scope
from dqt.program.schema import MAX_DIM, check_shape
from dqt.program.values import Shape, Value


class Rounded(Protocol):
    """An operator that ends in ``clamp((...) >> shift, lo, hi)``."""

    @property
    def out(self) -> str:
        """The value that it defines."""
        ...

    @property
    def shift(self) -> int:
        """Of the last step, 1 to 32."""
        ...

    @property
    def lo(self) -> int:
        """The smallest result."""
        ...

    @property
    def hi(self) -> int:
        """The largest result."""
        ...


def check_rounding(op: Rounded, scope: Scope) -> None:
    """``shift`` in 1..32 and ``[lo, hi]`` inside the output's range."""
    require(1 <= op.shift <= 32, f"shift {op.shift}, need 1 to 32")
    least, most = scope.values[op.out].lo, scope.values[op.out].hi
    require(least <= op.lo <= op.hi <= most, f"clamp [{op.lo}, {op.hi}] does not lie in [{least}, {most}]")


def check_same_scale(x: Value, out: Value) -> None:
    """An operator that moves integers keeps their scale, zero point and kind; their interval may become wider."""
    require(
        (x.scale, x.zero, x.coded) == (out.scale, out.zero, out.coded),
        f"{out.name} has another scale or zero than {x.name}, or only one of them is codes: this operator keeps them",
    )
    inside = out.lo <= x.lo and x.hi <= out.hi
    require(inside, f"{x.name} in [{x.lo}, {x.hi}] does not fit {out.name} in [{out.lo}, {out.hi}]")


def check_real_zero(value: Value, scope: Scope) -> None:
    """The integer ``zero`` can stand in ``value``, and is a real zero at every width: it lies on the coarsest grid."""
    require(value.lo <= value.zero <= value.hi, f"{value.name} in [{value.lo}, {value.hi}] holds no real zero")
    grid = 1 << (scope.space.master - scope.space.widths[0])
    on = not value.coded or value.zero % grid == 0
    require(on, f"the zero {value.zero} of {value.name} is no multiple of {grid}, so no real zero at the lowest width")


def check_range(name: str, numbers: tuple[int, ...], least: int) -> None:
    """Numbers of a geometry: each in ``[least, MAX_DIM]``."""
    require(all(least <= k <= MAX_DIM for k in numbers), f"{name} {numbers}, need {least} to {MAX_DIM}")


def check_axes(x: Value, axes: Shape) -> Shape:
    """Dimensions of ``x`` that an operator reduces, ascending; the shape of ``x`` with 1 along each."""
    ascending = axes == tuple(sorted(set(axes))) and set(axes) <= set(range(len(x.shape)))
    require(ascending and len(axes) > 0, f"axes {axes}, need some of 0 to {len(x.shape) - 1}, ascending")
    return tuple(1 if i in axes else d for i, d in enumerate(x.shape))


def check_windows(x: Value, kernel: Shape, stride: Shape, padding: Shape, dilation: Shape) -> tuple[int, int]:
    """Output rows and columns of sliding windows over a ``(C, H, W)`` value."""
    require(len(x.shape) == 3, f"reads {x.name} of shape {x.shape}, need (C, H, W)")
    check_range("kernel", kernel, 1)
    check_range("stride", stride, 1)
    check_range("dilation", dilation, 1)
    check_range("padding", padding, 0)
    height, width = x.shape[1] + padding[0] + padding[1], x.shape[2] + padding[2] + padding[3]
    check_shape((x.shape[0], height, width), "padded input")
    rows, columns = (dilation[i] * (kernel[i] - 1) + 1 for i in (0, 1))
    require(rows <= height and columns <= width, f"the window is larger than the padded input {height} x {width}")
    return (height - rows) // stride[0] + 1, (width - columns) // stride[1] + 1


def prove_product(
    lo: npt.NDArray[np.int64], hi: npt.NDArray[np.int64], m: npt.NDArray[np.int32], c: npt.NDArray[np.int64], where: str
) -> None:
    """``acc * m + c`` fits int64 for each channel: the last dimension of all four (equation 15)."""
    if product_fits(lo, hi, m, c):
        return
    for i in range(len(lo)):
        if not product_fits(lo[i : i + 1], hi[i : i + 1], m[..., i : i + 1], c[..., i : i + 1]):
            raise ProgramError(f"{where}acc * m + c of channel {i} does not fit int64: its scale or bias is too large")


def prove_within(total: int, limit: int, what: str) -> None:
    """``total`` is at most ``limit``."""
    if total > limit:
        raise ProgramError(f"{what} reaches {total}, the most is {limit}")
