"""A program: values, instructions, and the space of plans it accepts. Frozen; verified when it is made."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from dqt.arith.files import write_file
from dqt.arith.plan import PlanLike, Space
from dqt.program.binding import bound
from dqt.program.errors import ProgramError
from dqt.program.file import dumps, parts_of
from dqt.program.info import frozen, thawed
from dqt.program.listing import listing
from dqt.program.operator import Operator
from dqt.program.ops.choose import Choose
from dqt.program.ops.choose_late import ChooseLate
from dqt.program.ops.dequantize import Dequantize
from dqt.program.pack import packed, save_delta
from dqt.program.passes import outputs_of
from dqt.program.signature import only, only_input
from dqt.program.values import Dimension, Input, Output, State, Value, sizes_of
from dqt.program.verify import verify

__all__ = ["Program", "ProgramError", "ProgramLike", "as_program"]


@dataclass(frozen=True, eq=False)
class Program:
    """The integer network. Made by ``dqt.lower`` or :meth:`load`; both verify it.

    It owns what it holds: its arrays are copies that cannot be written, so that the proof made at its birth holds for
    its life. Copying a program gives the same one; a pickled one is verified again where it is read.

    Attributes:
        space: master width, widths, layers: every plan that may be passed.
        values: every value, in order of definition.
        ops: instructions in execution order. Those that lead to no output and no state are skipped, and those that only
            a ``Choose`` needs unless the plan is "auto".
        inputs: what a call is given, in order.
        states: integers that live between runs.
        dims: dimensions beside the batch that a call binds; values have the sizes of one binding, see :meth:`bind`.
        info: what a user needs beside the numbers, plain JSON values: ``mean`` and ``std`` (per channel, of pixels in
            [0, 1]), ``classes`` (names), ``data`` (the set it was trained on). Never read by execution. It cannot be
            changed, all the way down; ``copy.deepcopy`` of it can.
    """

    space: Space
    values: tuple[Value, ...]
    ops: tuple[Operator, ...]
    inputs: tuple[Input, ...]
    info: Mapping[str, Any] = field(default_factory=dict)
    states: tuple[State, ...] = ()
    dims: tuple[Dimension, ...] = ()

    def __post_init__(self) -> None:
        if type(self.ops) is tuple:  # verify refuses the rest
            object.__setattr__(self, "ops", tuple(map(_owning, self.ops)))
        verify(self)
        object.__setattr__(self, "info", frozen(self.info))

    def __copy__(self) -> Program:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Program:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return Program, (
            self.space, self.values, self.ops, self.inputs, thawed(self.info), self.states, self.dims,
        )  # fmt: skip

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers that carry a width, in order."""
        return self.space.names

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample of the only input.

        Raises:
            InputError: the program has several.
        """
        return only_input(self.inputs).shape

    @property
    def outputs(self) -> tuple[Output, ...]:
        """Each output: its name, and that of the value whose integers it is, in the order of the instructions."""
        return tuple(Output(op.name, op.x) for op in self.ops if isinstance(op, Dequantize))

    @property
    def output(self) -> str:
        """Name of the value whose integers are the only output.

        Raises:
            InputError: the program has several.
        """
        only("output", [out.name for out in self.outputs])
        return self.outputs[0].value

    @property
    def sizes(self) -> dict[str, int]:
        """The size that each named dimension has in this binding of the program."""
        return sizes_of((*self.inputs, *self.states), {dim.name: dim for dim in self.dims})

    def bind(self, **sizes: int) -> Program:
        """The program for these sizes of its named dimensions; the others stay as they are.

        Shapes are inferred anew, instruction by instruction, and verified. It is made once and kept.

        Raises:
            InputError: a dimension that the program does not have, a size outside of its range, or one that an
                instruction cannot take.
        """
        return bound(self, sizes)

    @property
    def choose(self) -> Choose | ChooseLate | None:
        """The controller's decision, if the program has a controller."""
        return next((op for op in self.ops if isinstance(op, Choose | ChooseLate)), None)

    @property
    def first(self) -> int:
        """The uniform width that a run under "auto" begins at: what its controller says, or the widest."""
        choice = self.choose
        return choice.first if isinstance(choice, ChooseLate) else self.space.widest

    @property
    def again(self) -> bool:
        """Whether samples whose controller asks for more bits run again from their inputs, under "auto"."""
        choice = self.choose
        return isinstance(choice, ChooseLate) and choice.again

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a ``.dqt`` file (docs/format.md), atomically: an existing file stays whole until the new one is.

        Raises:
            OSError: it cannot be written, say on a full disk; see :func:`dqt.arith.files.write_file`.
        """
        write_file(path, dumps(self))

    def pack(self, width: int) -> Program:
        """The program with the top bits of its weights alone, as many as widths up to ``width`` need.

        It gives the same integers at those widths, and refuses wider ones; :meth:`save` writes about ``width / 8`` of
        the bytes. Edge layers keep the program's edge width, a controller's own layers the master's. Activations still
        run at any width.

        Raises:
            PlanError: ``width`` is not one of the program's widths, or it is packed to fewer bits by now.
        """
        return packed(self, width)

    def save_delta(self, path: str | os.PathLike[str], since: int) -> None:
        """Write what :func:`dqt.upgrade` adds to the file of ``pack(since)``, which then is the file of this program.

        Raises:
            PlanError: ``since`` is not one of the widths below those that this program holds.
            OSError: it cannot be written.
        """
        save_delta(self, path, since)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Program:
        """Read and verify a ``.dqt`` file. Runs no code from it.

        Raises:
            ProgramError: truncated, changed, of another version, or not a legal program; always this one error.
            OSError: the file cannot be read.
        """
        try:
            return loads(Path(path).read_bytes())
        except ProgramError as error:
            raise ProgramError(f"{path}: {error}") from None

    def __str__(self) -> str:
        return listing(self)

    def __call__(self, x: Any, plan: PlanLike = None, state: Mapping[str, Any] | None = None) -> Any:
        """``dqt.interpret(self, x, plan, state)``."""
        return outputs_of(self, x, plan, state)


def loads(data: bytes) -> Program:
    """The program in the bytes of a ``.dqt`` file, verified.

    Raises:
        ProgramError: anything is wrong with them; no other error.
    """
    return Program(**parts_of(data))


ProgramLike: TypeAlias = Program | str | os.PathLike[str]
"""A program, or the path of a ``.dqt`` file."""


def as_program(given: ProgramLike) -> Program:
    """The program itself, or that of a file.

    Raises:
        ProgramError: something else, with the way from there to a program; or the file is not legal.
        OSError: the file cannot be read.
    """
    if isinstance(given, Program):
        return given
    if isinstance(given, str | os.PathLike):
        return Program.load(given)
    raise ProgramError(f"{_described(given)}; need a dqt.Program or the path of a .dqt file")


def _described(given: Any) -> str:
    """What was given in place of a program, and what makes one of it. Names alone are looked at: no torch here."""
    names = {f"{each.__module__}.{each.__qualname__}" for each in type(given).__mro__}
    if "dqt.nn.net.Net" in names:
        return "a prepared network: dqt.lower(net) makes the program of it"
    if "torch.nn.modules.module.Module" in names:
        return (
            f"a float model, {type(given).__name__}: net = dqt.prepare(model, example), then dqt.calibrate or dqt.fit, "
            "then dqt.lower(net) makes the program"
        )
    if "dqt.runtime.runtime.Runtime" in names:
        return "a Runtime: call it, or take its program"
    if isinstance(given, bytes | bytearray | memoryview):
        return "bytes: write them to a file, and pass its path"
    return f"a value of type {type(given).__name__}"


def _owning(op: Any) -> Any:
    """An instruction with arrays of its own; whether it is one at all, verify has yet to see."""
    if not is_dataclass(op) or isinstance(op, type):
        return op
    found = {item.name: getattr(op, item.name) for item in fields(op)}
    return replace(op, **{name: _own(item) for name, item in found.items() if isinstance(item, np.ndarray)})


def _own(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A copy over ``bytes``: NumPy itself refuses to make such an array writable."""
    if isinstance(array.base, bytes) or array.dtype.hasobject:  # it is one; or nothing that verify accepts
        return array
    return np.ndarray(array.shape, array.dtype, array.tobytes())
