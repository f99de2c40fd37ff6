"""What one run holds: a program under a plan, and the values of a slice of the batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from dqt.arith.bounds import FLOAT32_EXACT
from dqt.arith.plan import AUTO, Pair, Plan, uniform
from dqt.program.graph import Layered, last_reads, needed
from dqt.program.ops import Conv, Value
from dqt.program.prove import layer_bound, narrowed

if TYPE_CHECKING:
    from dqt.program.program import Program

Array: TypeAlias = npt.NDArray[Any]
Floats: TypeAlias = npt.NDArray[np.float32]


class Machine:
    """One program under one plan: which instructions run, each layer's narrowed weights, and the widths."""

    def __init__(self, program: Program, plan: Plan | Literal["auto"]) -> None:
        self.space = program.space
        self.n = program.space.master
        self.values = {value.name: value for value in program.values}
        self.ops = needed(program.ops, auto=plan == AUTO)
        self.dead = last_reads(self.ops)
        fixed = uniform(self.space, self.n) if isinstance(plan, str) else plan
        self.pairs: dict[str, Pair] = dict(fixed.items_) | {own.name: (self.n, self.n) for own in self.space.controller}
        self._matrices: dict[tuple[str, int], Array] = {}

    def matrix(self, op: Layered, b: int) -> Array:
        """``T_b(weight)`` as ``[groups, O / groups, taps]``, in the float type that makes its products exact."""
        key = (op.layer, b)
        if key not in self._matrices:
            bound = layer_bound(op.weight, self.n, b, self.values[op.x].zero)
            exact = np.float32 if bound.magnitude < FLOAT32_EXACT else np.float64
            groups = op.groups if isinstance(op, Conv) else 1
            count = op.weight.shape[0] // groups
            self._matrices[key] = narrowed(op.weight, self.n, b).reshape(groups, count, -1).astype(exact)
        return self._matrices[key]


class State:
    """The values of one slice that are alive, and under "auto" the widths that ``Choose`` gave."""

    def __init__(self, machine: Machine, x: Floats) -> None:
        self.machine = machine
        self.x = x
        self.data: dict[str, Array] = {}
        self.chosen: dict[str, npt.NDArray[np.int8]] = {}

    def value(self, name: str) -> Value:
        """What the program declares of a value."""
        return self.machine.values[name]

    def groups(self, layer: str) -> Iterator[tuple[Pair, Any]]:
        """The widths that a layer runs at in this slice, each with an index of the samples that take them."""
        if layer not in self.chosen:
            yield self.machine.pairs[layer], slice(None)
            return
        for b in np.unique(self.chosen[layer]):
            yield (int(b), int(b)), np.flatnonzero(self.chosen[layer] == b)

    def widths(self) -> npt.NDArray[np.int8]:
        """int8 ``[N, layers]``, see :class:`Result`."""
        names = self.machine.space.names
        result = np.empty((len(self.x), len(names)), dtype=np.int8)
        for i, name in enumerate(names):
            result[:, i] = self.chosen.get(name, min(self.machine.pairs[name]))
        return result

    def empty(self, name: str) -> Array:
        """Room for a value of this slice: uint8 codes, or int32 where it is wide."""
        value = self.value(name)
        return np.empty((len(self.x), *value.shape), dtype=np.int32 if value.wide else np.uint8)
