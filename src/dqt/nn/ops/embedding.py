"""Rows of a table, by index."""

from __future__ import annotations

import math
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
from dqt.nn.placement import Placement
from dqt.nn.ranges import Signal
from dqt.nn.run import Run
from dqt.nn.scales import Rows
from dqt.program.ops.embedding import Embedding

if TYPE_CHECKING:
    from dqt.nn.capture import Builder
    from dqt.nn.emission import Emission
    from dqt.nn.net import Net

MEAN, MAXIMUM = 1, 2
"""What torch calls two modes of a bag; 0 is a sum."""


def _embedding(b: Builder, call: fx.Node) -> str:
    _, weight = b.tensor(call, call.args[0])
    x = b.bound(call, call.args[1], len(weight) - 1)
    return reshaped(b, call, _rows(b, call, x), b.shape(call))


def _rows(b: Builder, call: fx.Node, x: str) -> str:
    """Append the rows of the first operand, by the numbers ``x``."""
    name, weight = b.tensor(call, call.args[0])
    path = b.path(name)
    b.use(call.args[0], path, "weight")
    b.note_frozen(path, weight=name)
    b.captured.modules[path] = Rows(weight)
    shape = (*b.captured.shapes[x], weight.shape[1])
    return b.add(call, "embedding", [x], path, shape=shape, attrs={"module": path})


def _bag(b: Builder, call: fx.Node) -> str:
    """The sum, mean or largest of as many rows for every sample."""
    _, weight = b.tensor(call, call.args[0])
    indices, offsets = call.args[1:3]
    assert isinstance(indices, fx.Node)
    x, placed = b.operand(call, indices), b.placements.of(indices)
    count = math.prod(b.captured.shapes[x])
    regular = b.constants.known(offsets) and b.constants.value(offsets, 2).tolist() == [0, count]  # type: ignore[arg-type]
    if not regular or placed.dim or placed.before > 1 or b.arg(call, 6, "per_sample_weights") is not None:
        raise b.unsupported(call, "has bags of different lengths, or with weights: pass indices [N, length] alone")
    left_out, mode = b.arg(call, 8, "padding_idx", -1), int(b.arg(call, 4, "mode", 0))
    if left_out not in (None, -1) and (mode or bool(weight[int(left_out)].any())):
        raise b.unsupported(call, "leaves out an index (padding_idx) whose row is not 0, or of a mean or a maximum")
    b.bound(call, indices, len(weight) - 1)
    b.placements.put(call, Placement())
    rows, out = _rows(b, call, reshaped(b, call, x, (count,))), (1, weight.shape[1])
    if mode == MAXIMUM:
        y = b.add(call, "max", [rows], quantizer="same", attrs={"axes": (0,), "sign": 1}, shape=out)
    else:
        y = b.add(call, "mean", [rows], attrs={"axes": (0,), "divides": mode == MEAN}, shape=out)
    return reshaped(b, call, y, out[1:])


def _fake(net: Net, node: Node, ins: Sequence[Signal], run: Run) -> Signal:
    """The rows as their codes stand for them; the gradient is that of the rows."""
    module = net.find(node.attrs["module"])
    assert isinstance(module, Rows)
    real = F.embedding(ins[0].raw.long(), module.weight)
    if run.quantized:
        codes, scale = module.codes_of(real)
        if run.mirrors:
            real, scale = real.double(), scale.double()
        real = fake.straight_through(real, codes.to(real.dtype) * scale)
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
    aten={
        "aten.embedding.default": _embedding,
        **dict.fromkeys(("aten.embedding_bag.default", "aten.embedding_bag.padding_idx"), _bag),
    },
    own_quantizer=True,
    int32_result=True,
    reads_integers=True,
)
