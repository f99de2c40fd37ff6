"""The geometry of sliding windows, as ATen gives it."""

from __future__ import annotations

from typing import Any

Shape = tuple[int, ...]


def geometry(value: Any, dims: int) -> tuple[int, ...]:
    """A stride, kernel or padding for each of ``dims`` dimensions, from a number or a sequence of one or ``dims``."""
    values = [value] * dims if isinstance(value, int) else list(value)
    return tuple(int(v) for v in (values * dims if len(values) == 1 else values))


def padded(value: Any, kernel: tuple[int, ...], dilation: tuple[int, ...]) -> tuple[int, ...]:
    """The padding of a convolution, before and after along each dimension of space, from numbers, "same" or "valid"."""
    if value == "valid":
        return (0,) * (2 * len(kernel))
    if value == "same":
        totals = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        return tuple(v for total in totals for v in (total // 2, total - total // 2))
    return tuple(v for p in geometry(value, len(kernel)) for v in (p, p))
