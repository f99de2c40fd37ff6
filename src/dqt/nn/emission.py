"""A program in the making: the nodes of a network become instructions, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from dqt.nn.errors import UnsupportedError
from dqt.nn.finite import check_finite
from dqt.nn.graph import INPUT, Node
from dqt.nn.hooks import compute_weights
from dqt.nn.integers import Codes
from dqt.nn.operator import operators
from dqt.program.operator import Operator
from dqt.program.ops.dequantize import Dequantize
from dqt.program.ops.quantize import Quantize, plain_gain
from dqt.program.ops.reshape import Reshape
from dqt.program.program import Program
from dqt.program.values import OUTPUT, Input, Shape, Value

if TYPE_CHECKING:
    from dqt.nn.net import Net


def emit(net: Net, info: Mapping[str, Any]) -> Program:
    """The integer program of ``net`` as its parameters are now, verified.

    Raises:
        UnsupportedError: a parameter is not finite, or a constant does not fit; names it, or the layer.
        ProgramError: a layer cannot be proved free of overflow; names it and the bound.
    """
    compute_weights(net)
    check_finite(net)
    emission = Emission(net)
    with torch.no_grad():
        for node in net.nodes:
            try:
                operators()[node.kind].emit(emission, node)
            except ValueError as error:
                what = f"layer {node.layer}" if node.layer else f"{node.kind} {node.out}"
                raise UnsupportedError(f"{what}: {error}") from None
    return emission.finish(info)


class Emission:
    """The values and instructions so far.

    Attributes:
        names: what the program calls each value of the network.
    """

    def __init__(self, net: Net) -> None:
        self.net = net
        self.values: dict[str, Value] = {}
        self.ops: list[Operator] = []
        if len(net.inputs.each) > 1 or len(net.outputs) > 1 or net.signature.states:
            raise UnsupportedError("a program has one input and one output")
        (one,) = net.inputs.each
        codes = self.define(self.fresh("input.codes"), one.shape, net.codes(one.name))
        self.names = {one.name: codes}
        self.append(Quantize(INPUT, codes, *plain_gain(self.values[codes].scale), 0))

    def append(self, op: Operator) -> None:
        """Append an instruction, whose values are declared."""
        self.ops.append(op)

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

    def finish(self, info: Mapping[str, Any]) -> Program:
        """The verified program."""
        (one,) = self.net.inputs.each
        self.append(Dequantize(self.names[self.net.outputs[0].value], OUTPUT))
        inputs = (Input(INPUT, one.shape),)
        return Program(self.net.space, tuple(self.values.values()), tuple(self.ops), inputs, dict(info))


def two(values: tuple[int, ...], first: int) -> tuple[int, int]:
    """A geometry of one or two dimensions, such as a stride, for two; ``first``: what stands for the height of 1-d."""
    return (values[0], values[1]) if len(values) == 2 else (first, values[0])
