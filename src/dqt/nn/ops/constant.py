"""A tensor that is the same for every sample: a position embedding, a class token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx

from dqt.nn.graph import INPUT, Node
from dqt.nn.operator import Operator
from dqt.nn.ranges import Signal
from dqt.nn.run import Run
from dqt.program.ops.constant import Constant

if TYPE_CHECKING:
    from dqt.nn.capture import Builder
    from dqt.nn.emission import Emission
    from dqt.nn.net import Net


def _expand(b: Builder, call: fx.Node) -> str:
    """A constant that is repeated for every sample, and along no other dimension."""
    tensor = b.constants.of(call.args[0])
    shape = b.shape(call)
    if tensor is None or tensor.numel() != torch.Size(shape).numel():
        raise b.unsupported(call, "repeats values; only a constant can be, once for each sample")
    return add_constant(b, call, call.args[0], shape)


def add_constant(b: Builder, call: fx.Node, arg: Any, shape: tuple[int, ...]) -> str:
    """Append the constant operand ``arg`` as a value of ``shape``, without the batch."""
    tensor = b.constants.of(arg)
    assert tensor is not None
    path = b.scale_path(call, arg)
    b.held[path] = (tensor.reshape(shape), b.trains(arg))
    if b.trains(arg):
        b.claim(call, arg)
    edge = "unsigned" if float(tensor.min()) >= 0 and not b.trains(arg) else "signed"
    return b.add(call, "constant", [INPUT], path, edge=edge, shape=shape, attrs={"path": path})


def _fake(net: Net, node: Node, ins: Sequence[Signal], run: Run) -> Signal:
    """As many as there are samples."""
    value: Tensor = net.held(node.attrs["path"])
    return Signal(value.expand(len(ins[0].raw), *value.shape), net.edge(node), run.quantized)


def _emit(e: Emission, node: Node) -> None:
    codes, value = e.net.codes(node.out), e.net.held(node.attrs["path"])
    q = (value.detach().cpu().double() / codes.scale + 0.5).floor() + codes.zero
    e.append(Constant(e.result(node), q.clamp(codes.lo, codes.hi).to(torch.int32).numpy(), ()))


OPERATOR = Operator(kind="constant", fake=_fake, emit=_emit, aten={"aten.expand.default": _expand})
