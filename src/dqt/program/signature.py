"""What one must know of a program to call it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dqt.arith.errors import InputError
from dqt.arith.plan import Space
from dqt.program.ops.dequantize import Dequantize
from dqt.program.ops.quantize import Quantize
from dqt.program.values import Dimension, Input, Shape, State, Value

if TYPE_CHECKING:
    from dqt.program.program import Program


@dataclass(frozen=True)
class Entry:
    """How a float input becomes codes: what its ``Quantize`` says, and the value that it defines."""

    value: Value
    gain: tuple[float, ...]
    bias: tuple[float, ...]
    axis: int

    @classmethod
    def of(cls, op: Quantize, value: Value) -> Entry:
        """That of an instruction."""
        return cls(value, tuple(op.gain.tolist()), tuple(op.bias.tolist()), op.axis)

    def shaped(self, rank: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Gain and bias, to broadcast over ``[N, *shape]`` of an input of so many dimensions."""
        shape = tuple(-1 if i == self.axis else 1 for i in range(rank))
        return np.array(self.gain).reshape(shape), np.array(self.bias).reshape(shape)


@dataclass(frozen=True)
class Signature:
    """A program without its instructions: all that an engine's caller needs of it.

    Attributes:
        space: every plan that may be passed.
        inputs: what a call is given.
        entries: input name -> how it becomes codes, for float inputs.
        outputs: output name -> the integers that a run ends with, in order.
        states: integers that live between runs.   dims: dimensions that a call binds.
        info: as :attr:`dqt.Program.info`.
    """

    space: Space
    inputs: tuple[Input, ...]
    entries: Mapping[str, Entry]
    outputs: Mapping[str, Value]
    states: tuple[State, ...] = ()
    dims: tuple[Dimension, ...] = ()
    info: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, program: Program) -> Signature:
        """That of a program."""
        values = {value.name: value for value in program.values}
        quantizers = [op for op in program.ops if isinstance(op, Quantize)]
        entries = {op.x: Entry.of(op, values[op.out]) for op in reversed(quantizers)}
        outputs = {op.name: values[op.x] for op in program.ops if isinstance(op, Dequantize)}
        return cls(program.space, program.inputs, entries, outputs, program.states, program.dims, program.info)

    @property
    def input_shape(self) -> Shape:
        """Shape of one sample of the only input.

        Raises:
            InputError: there are several.
        """
        return only_input(self.inputs).shape

    @property
    def output(self) -> Value:
        """The only output.

        Raises:
            InputError: there are several.
        """
        return self.outputs[only("output", self.outputs)]


def only_input(inputs: tuple[Input, ...]) -> Input:
    """The only input.

    Raises:
        InputError: there are several.
    """
    only("input", [given.name for given in inputs])
    return inputs[0]


def only(what: str, names: Iterable[str]) -> str:
    """The only name of all inputs, or of all outputs.

    Raises:
        InputError: there are several; it says what this is about.
    """
    found = list(names)
    if len(found) != 1:
        raise InputError(f"this program has {len(found)} {what}s, {', '.join(found)}: this takes a program with one")
    return found[0]
