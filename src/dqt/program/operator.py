"""What every operator of a program brings: one class in one file of :mod:`dqt.program.ops`.

An operator is a frozen dataclass. Its fields are what the file stores; ``x``, ``a``, ``b``, ``xs`` name the values that
it reads and ``out`` the value that it defines. Three methods say the rest: which shapes are legal, why no integer
overflows, and what it computes, on NumPy arrays and torch tensors alike.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any, ClassVar

from dqt.arith.nested import limits
from dqt.arith.plan import Space
from dqt.program import ops
from dqt.program.errors import require
from dqt.program.values import Shape, Value

if TYPE_CHECKING:
    from dqt.program.execute import Execution
    from dqt.program.program import Program


@dataclass(frozen=True)
class Scope:
    """What the checks and the proof of an instruction may look at."""

    space: Space
    values: Mapping[str, Value]
    input_shape: Shape
    controller: frozenset[str]

    @classmethod
    def of(cls, program: Program) -> Scope:
        """The scope of a program's instructions."""
        values = {value.name: value for value in program.values}
        own = frozenset(layer.name for layer in program.space.controller)
        return cls(program.space, values, program.input_shape, own)

    def codes(self, name: str) -> Value:
        """An input that must be codes.

        Raises:
            ProgramError: it is a wide value, or has no dimension.
        """
        wide = self.values[name].wide
        require(not wide, f"reads the wide value {name}: this operator takes codes alone")
        return self.ranked(name)

    def ranked(self, name: str) -> Value:
        """An input that must have a dimension.

        Raises:
            ProgramError: it has none.
        """
        require(bool(self.values[name].shape), f"reads {name}, which has no dimension: only Reshape and Dequantize may")
        return self.values[name]

    def narrow(self, name: str) -> Value:
        """An output that must be codes.

        Raises:
            ProgramError: it is a wide value.
        """
        wide = self.values[name].wide
        require(not wide, f"writes the wide value {name}: this operator makes codes alone")
        return self.values[name]

    @property
    def highest(self) -> int:
        """The largest code, ``2^n - 1``."""
        return limits(self.space.master, signed=False)[1]

    def widths(self, layer: str) -> tuple[int, ...]:
        """The widths that a layer may run at: all, or for the controller's own layers the master alone."""
        return (self.space.master,) if layer in self.controller else self.space.widths


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
