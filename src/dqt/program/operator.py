"""What every operator of a program brings: one class in one file of :mod:`dqt.program.ops`.

An operator is a frozen dataclass. Its fields are what the file stores; ``x``, ``a``, ``b``, ``xs`` name the values that
it reads and ``out`` the value that it defines. Three methods say the rest: which shapes are legal, why no integer
overflows, and what it computes, on NumPy arrays and torch tensors alike.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any, ClassVar

from dqt.arith.nested import limits
from dqt.arith.plan import Space
from dqt.program import ops
from dqt.program.errors import require
from dqt.program.values import Dimension, Input, Shape, State, Value, sizes_of

if TYPE_CHECKING:
    from dqt.program.execute import Execution
    from dqt.program.program import Program


@dataclass(frozen=True)
class Scope:
    """What the checks and the proof of an instruction may look at.

    Attributes:
        sizes: of each named dimension, as the program stands.
        before: the values of the program that is bound anew; empty where none is.
    """

    space: Space
    values: Mapping[str, Value]
    inputs: Mapping[str, Input]
    states: Mapping[str, State]
    dims: Mapping[str, Dimension]
    sizes: Mapping[str, int]
    controller: frozenset[str]
    before: Mapping[str, Value] = field(default_factory=dict)

    @classmethod
    def of(cls, program: Program) -> Scope:
        """The scope of a program's instructions."""
        dims = {dim.name: dim for dim in program.dims}
        return cls(
            program.space,
            {value.name: value for value in program.values},
            {given.name: given for given in program.inputs},
            {state.name: state for state in program.states},
            dims,
            sizes_of((*program.inputs, *program.states), dims),
            frozenset(layer.name for layer in program.space.controller),
        )

    def input(self, name: str, kind: str) -> Input:
        """An input of the program, which must be of a kind.

        Raises:
            ProgramError: there is none of this name, or it is of the other kind.
        """
        require(name in self.inputs, f"reads {name!r}, need one of the inputs {sorted(self.inputs)}")
        given = self.inputs[name]
        require(given.kind == kind, f"reads the {given.kind} input {name}: this operator takes a {kind} input")
        return given

    def state(self, name: str) -> State:
        """A state of the program.

        Raises:
            ProgramError: there is none of this name.
        """
        require(name in self.states, f"names the state {name!r}, need one of {sorted(self.states)}")
        return self.states[name]

    def dimension(self, name: str) -> Dimension:
        """A named dimension of the program.

        Raises:
            ProgramError: there is none of this name, or no input or state has it.
        """
        require(name in self.sizes, f"names the dimension {name!r}, need one of {sorted(self.sizes)}")
        return self.dims[name]

    def codes(self, name: str) -> Value:
        """An operand that must be codes.

        Raises:
            ProgramError: it is integers, or has no dimension.
        """
        require(self.values[name].coded, f"reads the integers {name}: this operator takes codes alone")
        return self.ranked(name)

    def ranked(self, name: str) -> Value:
        """An operand that must have a dimension.

        Raises:
            ProgramError: it has none.
        """
        alone = "only Reshape, Dequantize and Store may"
        require(bool(self.values[name].shape), f"reads {name}, which has no dimension: {alone}")
        return self.values[name]

    def narrow(self, name: str) -> Value:
        """A result that must be codes.

        Raises:
            ProgramError: it is integers.
        """
        require(self.values[name].coded, f"writes the integers {name}: this operator makes codes alone")
        return self.values[name]

    @property
    def highest(self) -> int:
        """The largest code, ``2^n - 1``."""
        return limits(self.space.master, signed=False)[1]

    def widths(self, layer: str) -> tuple[int, ...]:
        """The widths that a layer's weights may run at: those that they hold; of the controller's own the master."""
        if layer in self.controller:
            return (self.space.master,)
        held = [self.space.widest_of(each) for each in self.space.layers if each.name == layer and self.space.packed]
        return tuple(b for b in self.space.widths if b <= held[0]) if held else self.space.widths


@dataclass(frozen=True)
class Operator(ABC):
    """One instruction. Subclasses are frozen dataclasses."""

    OPERANDS: ClassVar[tuple[str, ...]] = ("x", "a", "b", "xs")
    """Fields that name the values which an instruction reads, where it has them."""

    def reads(self) -> tuple[str, ...]:
        """Names of the values that it reads, in order."""
        held = (getattr(self, name) for name in self.OPERANDS if hasattr(self, name))
        return tuple(name for each in held for name in ((each,) if isinstance(each, str) else each))

    def writes(self) -> str | None:
        """Name of the value that it defines; ``None`` if it defines none."""
        return getattr(self, "out", None)

    def title(self, index: int) -> str:
        """How messages name it: position, operator, and layer or output."""
        name = getattr(self, "layer", None) or self.writes()
        return f"op {index} {type(self).__name__}" + (f" '{name}'" if name else "")

    @abstractmethod
    def output_shape(self, scope: Scope) -> Shape:
        """Check it; the shape that its output must have (of what it reads, if it defines no value).

        Its fields have the right types and its inputs are defined.

        Raises:
            ProgramError: it is not legal.
        """

    def rebound(self, scope: Scope) -> Operator:
        """The instruction for a program whose named dimensions have other sizes, those of ``scope``.

        Fields say sizes relatively, so it is the same instruction; one that cannot take other sizes refuses them.

        Raises:
            ProgramError: it cannot take these sizes.
        """
        return self

    def prove(self, scope: Scope) -> None:  # noqa: B027 - most have nothing to prove
        """Prove that every intermediate integer fits: accumulators int32, the rest int64. Nothing to prove by default.

        Raises:
            ProgramError: it cannot be proved; the message names the channel and the bound.
        """

    @abstractmethod
    def run(self, run: Execution) -> Any:
        """The integers of its output (of what it reads, if it defines no value), ``[N, *shape]``."""


def operators() -> Mapping[str, type[Operator]]:
    """Every operator by name: all that the files of :mod:`dqt.program.ops` define."""
    if not _FOUND:
        for module in iter_modules(ops.__path__, f"{ops.__name__}."):
            for item in vars(import_module(module.name)).values():
                if isinstance(item, type) and issubclass(item, Operator) and item.__module__ == module.name:
                    _FOUND[item.__name__] = item
    return _FOUND


_FOUND: dict[str, type[Operator]] = {}
