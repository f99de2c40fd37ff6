"""Another shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import fx

from dqt.nn.graph import Node
from dqt.nn.operator import Operator
from dqt.nn.ranges import Signal
from dqt.nn.relative import resolved
from dqt.nn.run import Run
from dqt.program.ops.reshape import Reshape

if TYPE_CHECKING:
    from dqt.nn.capture import Builder
    from dqt.nn.emission import Emission
    from dqt.nn.net import Net


def _reshape(b: Builder, call: fx.Node) -> str:
    x, old = b.operand(call, call.args[0]), call.args[0]
    assert isinstance(old, fx.Node)
    placed = b.placements.of(old).reshaped(b.placements.sizes(old), *b.placements.batched(call))
    if placed is None:
        raise b.unsupported(call, "mixes the samples of the batch with other dimensions")
    b.placements.put(call, placed)
    return x if b.shape(call) == b.captured.shapes[x] else b.add(call, "reshape", [x], quantizer="same")


def _fake(net: Net, node: Node, ins: Sequence[Signal], run: Run) -> Signal:
    raw, groups = ins[0].raw, node.attrs.get("groups")
    shape = resolved(groups, tuple(raw.shape[1:])) if groups else node.shape
    return ins[0].like(raw.reshape(raw.shape[0], *shape))


def _emit(e: Emission, node: Node) -> None:
    e.append(Reshape(*e.moved(node), node.shape))


NAMES = (
    "aten.flatten.using_ints",
    "aten.reshape.default",
    "aten.view.default",
    "aten.squeeze.dim",
    "aten.squeeze.dims",
    "aten.unsqueeze.default",
    "aten.unflatten.int",
)
OPERATOR = Operator(
    kind="reshape",
    fake=_fake,
    emit=_emit,
    aten=dict.fromkeys(NAMES, _reshape),
    moves=True,
    selects=True,
    shares_memory=frozenset(NAMES),
)
