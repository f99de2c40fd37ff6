"""A tensor that is the same for every sample: a position embedding, a class token."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx

from dqt.nn.graph import Node
from dqt.nn.operator import Operator
from dqt.nn.ranges import Signal
from dqt.nn.run import Run
from dqt.program.ops.constant import Constant

if TYPE_CHECKING:
    from dqt.nn.capture import Builder
    from dqt.nn.emission import Emission
    from dqt.nn.net import Net


def add_constant(
    b: Builder, call: fx.Node, arg: Any, shape: tuple[int, ...], change: Callable[[Tensor], Tensor] | None = None
) -> str:
    """Append the constant operand ``arg`` as a value of ``shape``, without the batch.

    Args:
        change: what becomes of it first; not of what the model trains.
    """
    if change is None and (arg, shape) in b.made:
        return b.made[arg, shape]
    tensor = b.constants.of(arg)
    assert tensor is not None
    tensor = tensor if change is None else change(tensor)
    path, trains = b.scale_path(call, arg), b.trains(arg)
    b.held[path] = (tensor.reshape(shape), trains)
    b.use(arg, path, "value")
    quantizer = "unsigned" if float(tensor.min()) >= 0 and not trains else "signed"
    value = b.add(call, "constant", [b.first], path, quantizer=quantizer, shape=shape, attrs={"path": path})
    if change is None and isinstance(arg, fx.Node):
        b.made[arg, shape] = value
    return value


def _fake(net: Net, node: Node, ins: Sequence[Signal], run: Run) -> Signal:
    """As many as there are samples, and as long as the inputs are along named dimensions."""
    value: Tensor = net.held(node.attrs["path"])
    lengths = node.attrs.get("lengths", ())
    value = value[tuple(slice(each and ins[each[0]].raw.shape[1 + each[1]]) for each in lengths)]
    return Signal(value.expand(len(ins[0].raw), *value.shape), net.quantizer(node), run.quantized)


def _emit(e: Emission, node: Node) -> None:
    codes, value = e.net.codes(node.out), e.net.held(node.attrs["path"])
    q = (value.detach().cpu().double() / codes.scale + 0.5).floor() + codes.zero
    data = q.clamp(codes.lo, codes.hi).to(torch.int32).numpy()
    e.append(Constant(e.result(node), data, node.attrs.get("dims", ())))


OPERATOR = Operator(kind="constant", fake=_fake, emit=_emit)
