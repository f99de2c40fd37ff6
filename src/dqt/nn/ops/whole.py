"""Sums, differences and products of whole numbers that the model is given, such as positions made of tokens: exact."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, fx

from dqt.nn.graph import Node
from dqt.nn.integers import Codes
from dqt.nn.operator import Handler, Operator, in_place_too
from dqt.nn.ranges import Signal
from dqt.nn.run import Run
from dqt.program.ops.add import Add
from dqt.program.ops.multiply import Multiply
from dqt.program.ops.rescale import Rescale

if TYPE_CHECKING:
    from dqt.nn.capture import Builder
    from dqt.nn.emission import Emission
    from dqt.nn.net import Net

FUNCTIONS: dict[str, Callable[..., Tensor]] = {"add": torch.add, "sub": torch.sub, "mul": torch.mul}


def _binary(function: str, *, swapped: bool = False) -> Handler:
    """What appends an operator on two values, or on a value and one number."""

    def handler(b: Builder, call: fx.Node) -> str:
        operands: list[Any] = list(call.args[:2])[:: -1 if swapped else 1]
        constants = [b.constants.of(each) for each in operands]
        if float(call.kwargs.get("alpha", 1)) != 1:  # type: ignore[arg-type]
            raise b.unsupported(call, "scales an operand (alpha)")
        numbers = [None if c is None else _number(b, call, c) for c in constants]
        values = [each for each, number in zip(operands, numbers, strict=True) if number is None]
        placed = {b.placements.of(each) for each in values if b.operand(call, each)}
        if len(placed) > 1:
            raise b.unsupported(call, "reads two tensors whose batches stand in different dimensions")
        b.placements.put(call, *placed)
        attrs = {"function": function, "numbers": tuple(numbers)}
        return b.add(call, "whole", [b.operand(call, each) for each in values], quantizer="int32", attrs=attrs)

    return handler


def _number(b: Builder, call: fx.Node, constant: Tensor) -> int:
    if constant.numel() != 1 or not float(constant).is_integer():
        raise b.unsupported(call, "has a constant beside whole numbers of the input that is not one whole number")
    return int(constant)


def _applied(node: Node, values: Sequence[Any]) -> Any:
    """The function of a node, of values in the places where it has no numbers."""
    ahead = iter(values)
    operands = [next(ahead) if number is None else torch.tensor(number) for number in node.attrs["numbers"]]
    return FUNCTIONS[node.attrs["function"]](*operands)


def _fake(net: Net, node: Node, ins: Sequence[Signal], run: Run) -> Signal:
    return Signal(_applied(node, [x.raw.long() for x in ins]), None, run.quantized)


def _emit(e: Emission, node: Node) -> None:
    """Twice the result, halved: an instruction shifts by one place at least."""
    sources = [e.codes(name) for name in node.ins]
    ends = torch.cartesian_prod(*(torch.tensor([each.lo, each.hi]) for each in sources))
    found = _applied(node, ends.reshape(-1, len(sources)).unbind(1))
    codes = Codes(1.0, 0, int(found.min()), int(found.max()))
    if len(sources) == 1:
        _emit_with_number(e, node, codes)
        return
    names = e.source(node), e.source(node, 1), e.result(node, codes)
    if node.attrs["function"] == "mul":
        e.append(Multiply(*names, 2, 0, 0, 0, 1, codes.lo, codes.hi))
    else:
        sign = 1 if node.attrs["function"] == "add" else -1
        e.append(Add(*names, 2, 2 * sign, 0, 1, codes.lo, codes.hi))


def _emit_with_number(e: Emission, node: Node, codes: Codes) -> None:
    """``gain * x + bias`` of whole numbers."""
    bias, one = (int(_applied(node, [torch.tensor(x)])) for x in (0, 1))
    m, c = np.array([2 * (one - bias)], dtype=np.int32), np.array([2 * bias], dtype=np.int64)
    e.append(Rescale(e.source(node), e.result(node, codes), m, c, 1, codes.lo, codes.hi))


OPERATOR = Operator(
    kind="whole",
    fake=_fake,
    emit=_emit,
    whole={
        **{name: each for f in FUNCTIONS for name, each in in_place_too(f"{f}.Tensor", _binary(f)).items()},
        "aten.rsub.Scalar": _binary("sub", swapped=True),
    },
)
