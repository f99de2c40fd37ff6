"""What every operator of a prepared network brings: one record in one file of :mod:`dqt.nn.ops`.

The twin of :mod:`dqt.program.operator`. A record says which ATen operators it is, how it is computed differentiably,
and which instructions of a program it becomes; what those compute in integers stands in :mod:`dqt.program.ops`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, TypeAlias

from torch import fx

from dqt.nn import ops
from dqt.nn.graph import Node
from dqt.nn.ranges import Signal
from dqt.nn.run import Run

if TYPE_CHECKING:
    from dqt.nn.capture import Builder
    from dqt.nn.emission import Emission
    from dqt.nn.net import Net

Handler: TypeAlias = "Callable[[Builder, fx.Node], str]"
"""Appends the nodes of one ATen operator, or changes an earlier one; returns the name of the value it defines."""
Fake: TypeAlias = "Callable[[Net, Node, Sequence[Signal], Run], Signal]"
"""The differentiable form: the operands' signals to the result's."""
Emit: TypeAlias = "Callable[[Emission, Node], None]"
"""Appends the instructions of one node, with constants from the network's real parameters."""


Counts: TypeAlias = "Callable[[Node, tuple[int, ...], tuple[int, ...]], tuple[int, int, int]]"
"""Of a layer: its node, and the shapes of weight and input -> MACs, inputs and outputs of its instruction."""


def dense(node: Node, weight: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, int, int]:
    """A layer whose instruction reads and defines what its node does."""
    outputs = math.prod(node.shape)
    return outputs * math.prod(weight[1:]), math.prod(shape), outputs


@dataclass(frozen=True)
class Operator:
    """One operator of a prepared network.

    Attributes:
        kind: what a :class:`~dqt.nn.graph.Node` calls it.
        aten: ATen operator -> what appends its nodes. Empty for operators that dqt itself adds.
        whole: the same for operands that are whole numbers of the input, such as tokens, and what is computed of them.
        own_quantizer: its result becomes codes of a quantizer of its own, which can be the clamp of a ReLU after it.
        keeps_sign: its result is never negative where its operands never are.
        int32_result: its result is a sum that may stay int32, because an output shows it; that of a layer always may.
        int32_operands: it may read such a sum as it is.
        streams: it loses least where its operand is such a sum: a norm of a residual stream, a softmax of scores.
        moves: in evaluation it only moves values: behind the last layer it keeps int32 outputs as they are.
        selects: it moves values of any type, and makes none of its own, such as zeros at an edge.
        reads_integers: its operands may be integers as they are, such as tokens; what moves values may, too.
        shares_memory: names of ``aten`` whose result may share the memory of the operand, so that changing one in place
            may change the other.
        counts: of a layer that has a width.
    """

    kind: str
    fake: Fake
    emit: Emit
    aten: Mapping[str, Handler] = field(default_factory=dict)
    whole: Mapping[str, Handler] = field(default_factory=dict)
    own_quantizer: bool = False
    keeps_sign: bool = False
    int32_result: bool = False
    int32_operands: bool = False
    streams: bool = False
    moves: bool = False
    selects: bool = False
    reads_integers: bool = False
    shares_memory: frozenset[str] = frozenset()
    counts: Counts = dense


@cache
def operators() -> Mapping[str, Operator]:
    """Every operator by kind: all that the files of :mod:`dqt.nn.ops` define as ``OPERATOR``."""
    names = [module.name for module in iter_modules(ops.__path__, f"{ops.__name__}.")]
    found: list[Operator] = [import_module(name).OPERATOR for name in names]
    return {each.kind: each for each in found}


@cache
def handlers() -> Mapping[str, Handler]:
    """ATen operator -> what appends its nodes: all that can be captured."""
    return {name: handler for each in operators().values() for name, handler in each.aten.items()}


@cache
def whole_handlers() -> Mapping[str, Handler]:
    """ATen operator -> what appends its nodes where its operands are whole numbers of the input."""
    return {name: handler for each in operators().values() for name, handler in each.whole.items()}


@cache
def reads_integers() -> frozenset[str]:
    """ATen operators whose operands may be integers."""
    takes = (each for each in operators().values() if each.moves or each.reads_integers)
    return frozenset(name for each in takes for name in each.aten)


@cache
def shares_memory() -> frozenset[str]:
    """ATen operators whose result may share the memory of their operand."""
    return frozenset().union(*(each.shares_memory for each in operators().values()))


def in_place_too(name: str, handler: Handler) -> dict[str, Handler]:
    """An ATen operator, such as ``relu.default``, and its in-place form."""
    return {f"aten.{name}": handler, f"aten.{name.replace('.', '_.', 1)}": handler}
