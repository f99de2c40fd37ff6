"""What the operators ask of an array library beyond Python's own operators, and NumPy's answer.

The integers of a program are the same on NumPy arrays and torch tensors; :mod:`dqt.nn.tensors` has torch's answer.

Products of integers go through floating point where that is exact, and only there: operands are integers, and the bound
of the layer (docs/numerics.md, equation 14) keeps every partial sum, in any order, below ``2^24`` for float32 and below
``2^53`` for float64. A verified accumulator fits int32, so one of the two always holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from dqt.arith.bounds import FLOAT32_EXACT
from dqt.program.schema import size

Array: TypeAlias = Any
"""A NumPy array or a torch tensor."""
BLOCK = 1 << 18
"""Elements of the largest temporary of a block: 1 MiB of float32."""


class Arrays(Protocol):
    """An array library. ``q`` are integers, ``[N, ...]``."""

    def constant(self, array: npt.NDArray[Any]) -> Array:
        """A constant of the program, where the run's arrays are."""
        ...

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """Room for a value of this integer type."""
        ...

    def blocks(self, count: int, elements: int) -> Iterator[slice]:
        """Slices of ``count`` items, ``elements`` each, that are best computed one after the other."""
        ...

    def int16(self, q: Array) -> Array:
        """``q`` in an integer type of at least 16 bits."""
        ...

    def int64(self, q: Array) -> Array:
        """``q`` as int64."""
        ...

    def rint(self, x: Array) -> Array:
        """Floats, rounded half to even."""
        ...

    def pad(self, q: Array, pairs: Sequence[tuple[int, int]], value: int = 0) -> Array:
        """``q`` with so many ``value`` before and after it: one pair for each dimension."""
        ...

    def repeat(self, q: Array, count: int) -> Array:
        """``count`` samples of ``q``, which has no batch dimension; they may share its memory."""
        ...

    def concatenate(self, parts: Sequence[Array], axis: int) -> Array:
        """The parts joined along ``axis``."""
        ...

    def permute(self, q: Array, axes: Sequence[int]) -> Array:
        """``q`` with its dimensions in the order ``axes``."""
        ...

    def maximum(self, a: Array, b: Array) -> Array:
        """The larger, element by element."""
        ...

    def total(self, q: Array, axes: tuple[int, ...]) -> Array:
        """The sum along ``axes``, which are 1 long afterwards, int64."""
        ...

    def largest(self, q: Array, axes: tuple[int, ...]) -> Array:
        """The largest along ``axes``, which are 1 long afterwards."""
        ...

    def look_up(self, table: Array, q: Array, axis: int = 0) -> Array:
        """``table[q]``, or with ``axis`` its slices at the indices ``q``, one-dimensional."""
        ...

    def first_argmax(self, q: Array) -> Array:
        """The first index of the largest value along the last dimension."""
        ...

    def descending(self, q: Array) -> Array:
        """``q`` sorted along the last dimension, the largest first."""
        ...

    def groups(self, chosen: Array) -> Iterator[tuple[int, Array]]:
        """Each value that occurs in ``chosen``, integers ``[N]``, ascending, with the indices where it stands."""
        ...

    def factor(self, weight: npt.NDArray[np.int8], magnitude: int) -> Array:
        """Integer weights in the float type whose sums of products stay exact up to ``magnitude``."""
        ...

    def matmul(self, q: Array, factor: Array) -> Array:
        """``sum_i q[..., i] * factor[o, i]``, int64 ``[..., O]``, exact."""
        ...

    def product(self, a: Array, b: Array, magnitude: int) -> Array:
        """``sum_k a[.., i, k] * b[.., k, j]``, int64, exact for sums up to ``magnitude``; what is before broadcasts."""
        ...

    def convolve(
        self, q: Array, factor: Array, stride: tuple[int, int], dilation: tuple[int, int], groups: int
    ) -> Iterator[tuple[slice, Array]]:
        """2-d convolution of padded integers ``[N, C, H, W]``: output rows with int64 ``[N, O, rows, W]``, exact."""
        ...


class NumpyArrays:
    """NumPy on the processor; what :mod:`dqt.program.interpret` runs on. Blocks are sized for the cache."""

    def constant(self, array: npt.NDArray[Any]) -> Array:
        return array

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        return np.empty(shape, dtype=dtype)

    def blocks(self, count: int, elements: int) -> Iterator[slice]:
        step = max(1, BLOCK // max(1, elements))
        return (slice(i, i + step) for i in range(0, count, step))

    def int16(self, q: Array) -> Array:
        return q.astype(np.int16)

    def int64(self, q: Array) -> Array:
        return q.astype(np.int64)

    def rint(self, x: Array) -> Array:
        return np.rint(x)

    def pad(self, q: Array, pairs: Sequence[tuple[int, int]], value: int = 0) -> Array:
        return np.pad(q, pairs, constant_values=value)

    def repeat(self, q: Array, count: int) -> Array:
        return np.broadcast_to(q, (count, *q.shape))

    def concatenate(self, parts: Sequence[Array], axis: int) -> Array:
        return np.concatenate(parts, axis)

    def permute(self, q: Array, axes: Sequence[int]) -> Array:
        return q.transpose(axes)

    def maximum(self, a: Array, b: Array) -> Array:
        return np.maximum(a, b)

    def total(self, q: Array, axes: tuple[int, ...]) -> Array:
        return q.sum(axes, dtype=np.int64, keepdims=True)

    def largest(self, q: Array, axes: tuple[int, ...]) -> Array:
        return q.max(axes, keepdims=True)

    def look_up(self, table: Array, q: Array, axis: int = 0) -> Array:
        return table.take(q, axis)

    def first_argmax(self, q: Array) -> Array:
        return q.argmax(-1)

    def descending(self, q: Array) -> Array:
        return np.sort(q, axis=-1)[..., ::-1]

    def groups(self, chosen: Array) -> Iterator[tuple[int, Array]]:
        return ((int(b), np.flatnonzero(chosen == b)) for b in np.unique(chosen))

    def factor(self, weight: npt.NDArray[np.int8], magnitude: int) -> Array:
        return weight.astype(np.float32 if magnitude < FLOAT32_EXACT else np.float64)

    def product(self, a: Array, b: Array, magnitude: int) -> Array:
        exact = np.float32 if magnitude < FLOAT32_EXACT else np.float64
        return (a.astype(exact) @ b.astype(exact)).astype(np.int64)

    def matmul(self, q: Array, factor: Array) -> Array:
        return (q.astype(factor.dtype) @ factor.T).astype(np.int64)

    def convolve(
        self, q: Array, factor: Array, stride: tuple[int, int], dilation: tuple[int, int], groups: int
    ) -> Iterator[tuple[slice, Array]]:
        """Patches and one matrix product per group, for as many output rows at a time as fit the cache."""
        count, _, *kernel = factor.shape
        height, width = (
            (have - step * (taps - 1) - 1) // jump + 1
            for have, taps, jump, step in zip(q.shape[2:], kernel, stride, dilation, strict=True)
        )
        q, matrix = q.astype(factor.dtype), factor.reshape(groups, count // groups, -1)
        for rows in self.blocks(height, len(q) * q.shape[1] * size(tuple(kernel)) * width):
            taps = _patches(q, kernel, stride, dilation, range(*rows.indices(height)), width)
            acc = matrix @ taps.reshape(groups, matrix.shape[2], -1)
            yield rows, acc.reshape(count, *taps.shape[3:]).swapaxes(0, 1).astype(np.int64)


def _patches(
    q: npt.NDArray[Any], kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int], rows: range, width: int
) -> npt.NDArray[Any]:
    """What each tap sees at output rows ``rows``: ``[C, KH, KW, N, rows, width]`` from padded ``[N, C, H, W]``."""
    down, right = stride
    taps = np.empty((q.shape[1], *kernel, len(q), len(rows), width), dtype=q.dtype)
    for i, j in np.ndindex(*kernel):
        top, left = rows.start * down + i * dilation[0], j * dilation[1]
        bottom, end = top + (len(rows) - 1) * down + 1, left + (width - 1) * right + 1
        taps[:, i, j] = q[:, :, top:bottom:down, left:end:right].swapaxes(0, 1)
    return taps
