"""Instructions that move the integers of one value, one after the other: what stands around a layer in a program."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from dqt.program.operator import Operator
from dqt.program.ops.gather import Gather
from dqt.program.ops.pad import Pad
from dqt.program.ops.reshape import Reshape
from dqt.program.ops.slice import Slice
from dqt.program.ops.transpose import Transpose

if TYPE_CHECKING:
    from dqt.nn.emission import Emission

Shape = tuple[int, ...]
Move: TypeAlias = Callable[[str, str], Operator]
"""The instruction that makes one value of another, by their names."""


class Chain:
    """What is to become of a value. Moves that change nothing are left out.

    Attributes:
        shape: after all moves so far, without the batch.
    """

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self._moves: list[tuple[Shape, Move]] = []

    def __bool__(self) -> bool:
        return bool(self._moves)

    def emit(self, e: Emission, name: str, out: str) -> str:
        """Append the instructions; the value's name after them, ``out`` if there are any.

        Args:
            name: of the value before.
        """
        for i, (shape, move) in enumerate(self._moves):
            after = out if i + 1 == len(self._moves) else e.fresh(f"{out}.{i}")
            e.append(move(name, e.moved_value(name, shape, after)))
            name = after
        return name

    def reshape(self, *shape: int) -> Chain:
        """The same integers, row-major."""
        return self._then(shape, lambda x, out: Reshape(x, out, shape), changes=shape != self.shape)

    def transpose(self, *axes: int) -> Chain:
        """Dimensions in another order."""
        shape = tuple(self.shape[axis] for axis in axes)
        return self._then(shape, lambda x, out: Transpose(x, out, axes), changes=axes != tuple(sorted(axes)))

    def gather(self, axis: int, indices: Sequence[int]) -> Chain:
        """Elements along a dimension."""
        shape = (*self.shape[:axis], len(indices), *self.shape[axis + 1 :])
        changes = tuple(indices) != tuple(range(self.shape[axis]))
        return self._then(
            shape, lambda x, out: Gather(x, out, axis, np.array(indices, dtype=np.int32)), changes=changes
        )

    def pad(self, before: Shape, after: Shape) -> Chain:
        """Real zeros around it."""
        shape = tuple(map(sum, zip(before, self.shape, after, strict=True)))
        return self._then(shape, lambda x, out: Pad(x, out, before, after), changes=any(before + after))

    def cut(self, starts: Shape, stops: Shape) -> Chain:
        """A part of it."""
        shape, steps = tuple(b - a for a, b in zip(starts, stops, strict=True)), (1,) * len(starts)
        return self._then(shape, lambda x, out: Slice(x, out, starts, stops, steps), changes=shape != self.shape)

    def _then(self, shape: Shape, move: Move, *, changes: bool) -> Chain:
        if changes:
            self.shape = shape
            self._moves.append((shape, move))
        return self
