"""An engine for each binding of a program's named dimensions; they share the packed weights."""

from __future__ import annotations

from typing import Any

from dqt.arith.errors import InputError
from dqt.program.inputs import Inputs, Samples
from dqt.program.signature import Signature
from dqt.program.values import sizes_of
from dqt.runtime.native import native

KEPT = 32
"""Bindings whose memory plans are kept; the oldest goes."""
Shapes = list[tuple[int, ...]]


class Bindings:
    """The engine as it was made, and those bound from it."""

    def __init__(self, engine: Any, signature: Signature, inputs: Inputs) -> None:
        self._inputs = inputs
        self._standing = sizes_of((*signature.inputs, *signature.states), {dim.name: dim for dim in signature.dims})
        self._own = (engine, [value.shape for value in signature.outputs.values()])
        self._bound: dict[tuple[int, ...], tuple[Any, Shapes]] = {}

    def sizes(self, inputs: Samples) -> dict[str, int]:
        """The size of every named dimension in a call; what no input has stays as it is.

        Raises:
            InputError: a dimension has two sizes, or one outside of its range.
        """
        return self._standing | self._inputs.sizes(inputs)

    def at(self, inputs: Samples) -> tuple[Any, Shapes]:
        """The engine for these inputs, and the shapes of its outputs without the batch.

        Raises:
            InputError: the program cannot take these sizes.
        """
        if not self._standing:
            return self._own
        sizes = self.sizes(inputs)
        key = tuple(sizes.values())
        found = self._own if sizes == self._standing else self._bound.get(key)
        if found is None:
            found = self._bound[key] = self._made(sizes)
            for old in list(self._bound)[:-KEPT]:
                self._bound.pop(old, None)
        return found

    def _made(self, sizes: dict[str, int]) -> tuple[Any, Shapes]:
        try:
            engine = self._own[0].bound(sizes)
        except native().LoadError as error:
            words = ", ".join(f"{name}={size}" for name, size in sizes.items())
            raise InputError(f"this program cannot take {words}: {error}") from None
        return engine, [tuple(shape) for shape in engine.output_shapes]
