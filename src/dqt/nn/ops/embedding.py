"""Rows of a table, by index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import fx

from dqt.arith import fixed
from dqt.nn import fake
from dqt.nn.graph import Node
from dqt.nn.moves import reshaped
from dqt.nn.operator import Operator
from dqt.nn.ranges import Signal
from dqt.nn.run import Run
from dqt.nn.scales import Rows
from dqt.program.ops.embedding import Embedding

if TYPE_CHECKING:
    from dqt.nn.capture import Builder
    from dqt.nn.emission import Emission
    from dqt.nn.net import Net


def _embedding(b: Builder, call: fx.Node) -> str:
    name, weight = b.tensor(call, call.args[0])
    x = b.bound(call, call.args[1], len(weight) - 1)
    if not b.captured.shapes[x]:  # one token a sample: an instruction reads a row of them
        x = reshaped(b, call, x, (1,))
    path = b.path(name)
    b.use(call.args[0], path, "weight")
    b.note_frozen(path, weight=name)
    b.captured.modules[path] = Rows(weight)
    shape = (*b.captured.shapes[x], weight.shape[1])
    return reshaped(b, call, b.add(call, "embedding", [x], path, shape=shape, attrs={"module": path}), b.shape(call))


def _fake(net: Net, node: Node, ins: Sequence[Signal], run: Run) -> Signal:
    """The rows as their codes stand for them; the gradient is that of the rows."""
    module = net.find(node.attrs["module"])
    assert isinstance(module, Rows)
    real = F.embedding(ins[0].raw.long(), module.weight)
    if run.quantized:
        codes, scale = module.codes_of(real)
        real = fake.straight_through(real.double(), codes.double() * scale.double())
    return Signal(real, net.quantizer(node), run.quantized)


def _emit(e: Emission, node: Node) -> None:
    module = e.net.find(node.attrs["module"])
    assert isinstance(module, Rows)
    codes, scale = (part.cpu() for part in module.codes_of(module.weight))
    largest = float(scale.max()) * 127
    out = e.result_codes(node, largest)
    units = scale.flatten().double().numpy() / out.scale
    shift = fixed.choose_shift(units)
    m, c = fixed.multiplier(units, shift), fixed.offset(np.zeros_like(units), out.zero, shift)
    table = codes.to(torch.int8).numpy()
    e.append(Embedding(e.source(node), e.result(node, out), table, m, c, shift, out.lo, out.hi))


OPERATOR = Operator(
    kind="embedding",
    fake=_fake,
    emit=_emit,
    aten={"aten.embedding.default": _embedding},
    own_quantizer=True,
    int32_result=True,
    reads_integers=True,
)
