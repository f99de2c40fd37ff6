"""The geometry of sliding windows, as ATen gives it."""

from __future__ import annotations

from typing import Any


def geometry(value: Any, dims: int) -> tuple[int, ...]:
    """A stride, kernel or padding for each of ``dims`` dimensions, from a number or a sequence of one or ``dims``."""
    values = [value] * dims if isinstance(value, int) else list(value)
    return tuple(int(v) for v in (values * dims if len(values) == 1 else values))
