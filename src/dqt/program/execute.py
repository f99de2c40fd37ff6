"""A program on arrays: one run of a slice of the batch under one plan, instruction by instruction."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

from dqt.arith.plan import AUTO, Pair, Plan, uniform
from dqt.program.arrays import Array, Arrays
from dqt.program.graph import last_reads, needed
from dqt.program.values import Value

if TYPE_CHECKING:
    from dqt.program.program import Program


class Machine:
    """One program under one plan on one array library: which instructions run, the widths, constants made once.

    Attributes:
        pairs: (weight, activation) width of every layer, the controller's own too; of layers that a ``Choose`` governs,
            what they take until it has run.
    """

    def __init__(self, program: Program, plan: Plan | Literal["auto"], xp: Arrays) -> None:
        self.space, self.xp, self.states = program.space, xp, program.states
        self.values = {value.name: value for value in program.values}
        self.ops = needed(program.ops, auto=plan == AUTO)
        self.dead = last_reads(self.ops)
        n = program.space.master
        fixed = uniform(self.space, program.first) if isinstance(plan, str) else plan
        self.pairs: dict[str, Pair] = dict(fixed.items_) | {own.name: (n, n) for own in self.space.controller}
        self.constants: dict[Any, Array] = {}

    def run(
        self, inputs: Mapping[str, Array], state: Mapping[str, Array] | None = None, *, keep: bool = False
    ) -> Execution:
        """Execute every instruction once on ``inputs``, by name ``[N, *shape]``.

        Args:
            state: integers of each state, ``[N, *shape]``; ``None``: its start.
            keep: hold every value; otherwise a value is freed when nothing later reads it.
        """
        run = Execution(self, inputs, state)
        for op, dead in zip(self.ops, self.dead, strict=True):
            result, out = op.run(run), op.writes()
            if out is not None:
                run.data[out] = result
                if keep:
                    run.kept[out] = result
            for name in dead:
                del run.data[name]
        return run

    def start(self, count: int) -> dict[str, Array]:
        """The states of so many samples before their first run: the real 0."""
        found: dict[str, Array] = {}
        for state in self.states:
            found[state.name] = self.xp.empty((count, *state.shape), state.as_value(state.name).dtype)
            found[state.name][:] = state.zero
        return found


class Execution:
    """The values of one slice that are alive, and under "auto" the widths that ``Choose`` gave.

    Attributes:
        inputs: float32 or integers by name.   count: samples N.
        data: value name -> integers ``[N, *shape]``.   kept: all of them, where that was asked for.
        state: what ``Recall`` finds.   stored: what ``Store`` leaves.   outputs: integers of each output.
        chosen: layer -> widths ``[N]``.
    """

    def __init__(self, machine: Machine, inputs: Mapping[str, Array], state: Mapping[str, Array] | None) -> None:
        self.machine, self.xp, self.space, self.n = machine, machine.xp, machine.space, machine.space.master
        self.inputs, self.count = inputs, len(next(iter(inputs.values())))
        self.state = machine.start(self.count) if state is None else state
        self.stored: dict[str, Array] = {}
        self.outputs: dict[str, Array] = {}
        self.data: dict[str, Array] = {}
        self.kept: dict[str, Array] = {}
        self.chosen: dict[str, Array] = {}

    def value(self, name: str) -> Value:
        """What the program declares of a value."""
        return self.machine.values[name]

    def empty(self, name: str) -> Array:
        """Room for a value of this slice."""
        value = self.value(name)
        return self.xp.empty((self.count, *value.shape), value.dtype)

    def put(self, name: str, out: Array, samples: Any, integers: Array) -> None:
        """Write ``integers`` of a wider type into ``out[samples]`` of value ``name``: torch casts into slices alone."""
        if not isinstance(samples, slice):
            wide, integers = integers, self.xp.empty(tuple(integers.shape), self.value(name).dtype)
            integers[:] = wide
        out[samples] = integers

    def constant(self, key: tuple[Any, ...], make: Callable[[], Array]) -> Array:
        """A constant of an instruction on this array library, made once for all runs of the machine."""
        constants = self.machine.constants
        if key not in constants:
            constants[key] = make()
        return constants[key]

    def groups(self, layer: str) -> Iterator[tuple[Pair, Any]]:
        """The widths that a layer runs at in this slice, each with an index of the samples that take them."""
        if layer not in self.chosen:
            yield self.machine.pairs[layer], slice(None)
            return
        for b, samples in self.xp.groups(self.chosen[layer]):
            yield (b, b), samples
