"""A program in the making: the nodes of a network become instructions, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from dqt.nn.errors import UnsupportedError
from dqt.nn.finite import check_finite
from dqt.nn.graph import Node
from dqt.nn.hooks import compute_weights
from dqt.nn.inputs import Input
from dqt.nn.integers import Codes, finest
from dqt.nn.operator import operators
from dqt.nn.sized import Sized, sized
from dqt.program import values
from dqt.program.operator import Operator
from dqt.program.ops.dequantize import Dequantize
from dqt.program.ops.quantize import Quantize, plain_gain
from dqt.program.ops.read import Read
from dqt.program.ops.recall import Recall
from dqt.program.ops.reshape import Reshape
from dqt.program.ops.store import Store
from dqt.program.program import Program
from dqt.program.values import Shape, State, Value

if TYPE_CHECKING:
    from dqt.nn.net import Net
    from dqt.nn.ops.standardize import Standardized


def emit(net: Net, info: Mapping[str, Any]) -> Program:
    """The integer program of ``net`` as its parameters are now, verified.

    Raises:
        UnsupportedError: a parameter is not finite, or a constant does not fit; names it, or the layer.
        ProgramError: a layer cannot be proved free of overflow; names it and the bound.
    """
    compute_weights(net)
    check_finite(net)
    first, whole = emitted(net)
    for node, why in whole.wrong.items():
        raise UnsupportedError(f"{node} {why}")
    return first.program(whole, info)


@torch.no_grad()
def emitted(net: Net) -> tuple[Emission, Sized]:
    """What the nodes become at the sizes of the example, and the same for all sizes of named dimensions."""
    emissions = [_emitted(view) for view in net.at_sizes()]
    first = emissions[0]
    return first, sized(emissions) if len(emissions) > 1 else Sized(first.values, first.ops, {})


def _emitted(net: Net) -> Emission:
    emission = Emission(net)
    for node in net.nodes:
        try:
            emission.origin = node.out
            operators()[node.kind].emit(emission, node)
        except ValueError as error:
            what = f"layer {node.layer}" if node.layer else f"{node.kind} {node.out}"
            raise UnsupportedError(f"{what}: {error}") from None
    emission.finish()
    return emission


class Emission:
    """The values and instructions so far.

    Attributes:
        names: what the program calls each value of the network.
        origins: the node that each instruction comes from, by what it defines.
        standardized: what stays real before the codes, by its name in the network.
    """

    def __init__(self, net: Net) -> None:
        self.net = net
        self.values: dict[str, Value] = {}
        self.ops: list[Operator] = []
        self.names: dict[str, str] = {}
        self.states: list[State] = []
        self.origin, self.origins = "", list[str]()
        self.standardized: dict[str, Standardized] = {}
        for one in net.inputs.each:
            if one.name not in net.floats:
                self.names[one.name] = self._entry(one)

    def _entry(self, one: Input) -> str:
        """The integers of an input, or of a state from the run before."""
        if one.kind == "integer":
            value = self.define(self.fresh(f"{one.name}.integers"), one.shape, Codes(1.0, 0, one.lo, one.hi))
            self.append(Read(one.name, value))
            return value
        codes = self.net.codes(one.name)
        value = self.define(self.fresh(f"{one.name}.codes"), one.shape, codes)
        if one.name in self.net.signature.states:
            self.states.append(State(one.name, one.shape, codes.scale, codes.zero, codes.lo, codes.hi, one.dims))
            self.append(Recall(one.name, value))
        else:
            self.append(Quantize(one.name, value, *plain_gain(codes.scale), 0))
        return value

    def append(self, op: Operator) -> None:
        """Append an instruction, whose values are declared."""
        self.ops.append(op)
        self.origins.append(self.origin)

    def fresh(self, name: str) -> str:
        """A name for a value that the network does not have, unlike every name that it has."""
        while name in self.net.shapes or name in self.values:
            name += "_"
        return name

    def define(self, name: str, shape: Shape, codes: Codes) -> str:
        """Declare a value; ``codes`` says how its integers stand for reals."""
        self.values[name] = Value(name, shape, codes.scale, codes.zero, codes.lo, codes.hi)
        return name

    def codes(self, value: str) -> Codes:
        """How the integers of a value of the network stand for reals in the program."""
        held = self.values[self.names[value]]
        return Codes(held.scale, held.zero, held.lo, held.hi)

    def reach(self, node: Node, index: int = 0) -> float:
        """The largest magnitude of an operand, in reals."""
        codes = self.codes(node.ins[index])
        return codes.scale * max(codes.zero - codes.lo, codes.hi - codes.zero)

    def result_codes(self, node: Node, largest: float) -> Codes:
        """How the result of a node is to stand for reals: as its quantizer says; without one as int32.

        Args:
            largest: the largest magnitude that the result can have, in reals.
        """
        whole = self.net.quantizer(node) is None
        return finest(largest, node) if whole else self.net.codes(node.out)

    def source(self, node: Node, index: int = 0) -> str:
        """The program's name of an operand."""
        return self.names[node.ins[index]]

    def result(self, node: Node, codes: Codes | None = None) -> str:
        """Declare the result of a node."""
        self.names[node.out] = node.out
        return self.define(node.out, node.shape, codes or self.net.codes(node.out))

    def moved(self, node: Node) -> tuple[str, str]:
        """Operand and result of a node that only moves integers: codes or int32 outputs, as they were."""
        x = self.source(node)
        self.names[node.out] = self.moved_value(x, node.shape, node.out)
        return x, node.out

    def moved_value(self, name: str, shape: Shape, out: str) -> str:
        """Declare a value whose integers are those of another."""
        self.values[out] = replace(self.values[name], name=out, shape=shape)
        return out

    def same(self, node: Node) -> None:
        """A node that a program does not need: its result is its operand."""
        self.names[node.out] = self.source(node)

    def image(self, node: Node, codes: Codes) -> tuple[str, str, Callable[[], None]]:
        """Operand and result of a node over space: as they are in 2-d, with a height of 1 in 1-d.

        Returns:
            their names, and what is to be called after the instruction is appended: it takes the height away again.
        """
        if len(node.shape) == 3:
            return self.source(node), self.result(node, codes), lambda: None
        channels, length = self.net.shapes[node.ins[0]]
        x = self._reshaped(self.source(node), (channels, 1, length), self.fresh(f"{node.out}.2d"))
        out = self.define(self.fresh(f"{node.out}.flat"), (node.shape[0], 1, node.shape[1]), codes)

        def flatten() -> None:
            self.names[node.out] = self._reshaped(out, node.shape, node.out)

        return x, out, flatten

    def _reshaped(self, name: str, shape: Shape, out: str) -> str:
        self.append(Reshape(name, self.moved_value(name, shape, out), shape))
        return out

    def finish(self) -> None:
        """Append what gives the outputs and keeps the states."""
        signature = self.net.signature
        for output in signature.shown:
            self.append(Dequantize(self.names[output.value], output.name))
        for state, value in signature.kept.items():
            self.append(Store(self.names[value], state))

    def program(self, whole: Sized, info: Mapping[str, Any]) -> Program:
        """The verified program of values and instructions that hold at all sizes."""
        signature = self.net.signature
        given = (one for one in signature.inputs.each if one.name not in signature.states)
        inputs = tuple(values.Input(one.name, one.shape, one.kind, one.lo, one.hi, one.dims) for one in given)
        parts = self.net.space, tuple(whole.values.values()), tuple(whole.ops), inputs
        return Program(*parts, dict(info), tuple(self.states), tuple(signature.inputs.dims.values()))


def two(values: tuple[int, ...], first: int) -> tuple[int, int]:
    """A geometry of one or two dimensions, such as a stride, for two; ``first``: what stands for the height of 1-d."""
    return (values[0], values[1]) if len(values) == 2 else (first, values[0])
