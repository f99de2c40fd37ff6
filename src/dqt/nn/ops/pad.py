"""Zeros around a value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch.nn.functional as F
from torch import fx

from dqt.nn.graph import Node
from dqt.nn.operator import Operator
from dqt.nn.ranges import Signal
from dqt.nn.run import Run
from dqt.program.ops.pad import Pad

if TYPE_CHECKING:
    from dqt.nn.capture import Builder
    from dqt.nn.emission import Emission
    from dqt.nn.net import Net


def _pad(b: Builder, call: fx.Node) -> str:
    shape = b.captured.shapes[b.value(call, call.args[0])]
    mode, value = b.arg(call, 2, "mode", "constant"), b.arg(call, 3, "value", 0)
    if str(call.target) == "aten.constant_pad_nd.default":
        mode, value = "constant", b.arg(call, 2, "value", 0)
    given: Any = call.args[1]
    amounts = [int(v) for v in given]
    zeros = mode == "constant" and value in (None, 0, 0.0)
    if not zeros or min(amounts, default=0) < 0 or len(amounts) > 2 * len(shape):
        raise b.unsupported(call, f"pads with mode {mode!r}, value {value}, amounts {amounts}; only zeros can be added")
    pairs = list(zip(amounts[0::2], amounts[1::2], strict=True))
    pairs += [(0, 0)] * (len(shape) - len(pairs))
    before, after = zip(*reversed(pairs), strict=True)
    return b.keep(call, "pad", before=before, after=after)


def _fake(net: Net, node: Node, ins: Sequence[Signal], run: Run) -> Signal:
    pairs = zip(reversed(node.attrs["before"]), reversed(node.attrs["after"]), strict=True)
    return ins[0].like(F.pad(ins[0].raw, [v for pair in pairs for v in pair]))


def _emit(e: Emission, node: Node) -> None:
    e.append(Pad(e.source(node), e.result(node), node.attrs["before"], node.attrs["after"]))


OPERATOR = Operator(
    kind="pad",
    fake=_fake,
    emit=_emit,
    aten=dict.fromkeys(("aten.pad.default", "aten.constant_pad_nd.default"), _pad),
)
