"""What the tests of arith share: every master code, every pair of widths, and an array that refuses floats."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dqt.arith.nested import limits

Int64 = npt.NDArray[np.int64]

MASTERS = tuple(range(2, 9))
WIDTHS = tuple((n, b) for n in MASTERS for b in range(1, n + 1))
"""Every (n, b) with n in 2..8 and b in 1..n."""


def masters(n: int, *, signed: bool) -> Int64:
    """Every n-bit code."""
    lo, hi = limits(n, signed=signed)
    return np.arange(lo, hi + 1, dtype=np.int64)


class IntegerOnly(np.ndarray[Any, Any]):
    """An integer array; any ufunc that reads or makes something that is not an integer or a truth value fails."""

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        plain = [np.asarray(i) if isinstance(i, IntegerOnly) else i for i in inputs]
        out = getattr(ufunc, method)(*plain, **kwargs)
        for value in (*plain, out):
            kind = np.asarray(value).dtype.kind
            if kind not in "iub":
                raise TypeError(f"{ufunc.__name__} touches a value of kind {kind!r}")
        return out.view(IntegerOnly) if isinstance(out, np.ndarray) else out


def integer_only(q: npt.NDArray[Any]) -> IntegerOnly:
    """``q`` as an array that refuses floats."""
    return q.view(IntegerOnly)
