"""Parts of a value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import fx

from dqt.nn.graph import Node
from dqt.nn.operator import Operator
from dqt.nn.ranges import Signal
from dqt.nn.run import Run
from dqt.program.ops.slice import Slice

if TYPE_CHECKING:
    from dqt.nn.capture import Builder
    from dqt.nn.emission import Emission
    from dqt.nn.net import Net


def _slice(b: Builder, call: fx.Node) -> str:
    dim, length = _along(b, call)
    start, stop, step = b.arg(call, 2, "start"), b.arg(call, 3, "end"), int(b.arg(call, 4, "step", 1))
    if dim == 0:
        if start in (None, 0) and step == 1 and stop in (None, 2**63 - 1):
            return b.value(call, call.args[0])
        raise b.unsupported(call, "slices the batch")
    first, last, _ = slice(start, stop).indices(length)
    return _cut(b, call, call.args[0], dim, (first, last, step))


def _select(b: Builder, call: fx.Node) -> str:
    dim, length = _along(b, call)
    index = int(b.arg(call, 2, "index")) % length
    return _cut(b, call, call.args[0], dim, (index, index + 1, 1), drop=True)


def _narrow(b: Builder, call: fx.Node) -> str:
    dim, length = _along(b, call)
    first = int(b.arg(call, 2, "start")) % length
    return _cut(b, call, call.args[0], dim, (first, first + int(b.arg(call, 3, "length")), 1))


def _along(b: Builder, call: fx.Node, index: int = 1) -> tuple[int, int]:
    """The dimension that a call works along, 0 is the batch, and its length (of the batch: 1)."""
    shape = (1, *b.captured.shapes[b.value(call, call.args[0])])
    dim = int(b.arg(call, index, "dim", 0)) % len(shape)
    return dim, shape[dim]


def _parts(b: Builder, call: fx.Node) -> str:
    """Several parts of one value: each is cut where it is taken."""
    return b.value(call, call.args[0])


def _part(b: Builder, call: fx.Node) -> str:
    """One of the parts that an operator such as ``chunk`` gives, or the first result of one such as ``max``."""
    parent, index = call.args
    assert isinstance(parent, fx.Node)
    if index == 0 and str(parent.target) not in PARTS:
        return b.value(call, parent)
    if str(parent.target) not in PARTS or not isinstance(index, int):
        raise b.unsupported(call, "takes one of several results, which is no value of the network")
    at, drop = PARTS[str(parent.target)]
    dim, length = _along(b, parent, at)
    sizes = [1] * length if drop else [int(part.shape[dim]) for part in parent.meta["val"]]
    first = sum(sizes[:index])
    return _cut(b, call, parent, dim, (first, first + sizes[index], 1), drop=drop)


def _cut(b: Builder, call: fx.Node, arg: Any, dim: int, cut: tuple[int, int, int], *, drop: bool = False) -> str:
    """Append ``arg[..., start:stop:step, ...]`` along ``dim``; ``drop``: the dimension, which then has one element."""
    x = b.value(call, arg)
    shape = b.captured.shapes[x]
    if dim == 0:
        raise b.unsupported(call, "divides the batch")
    if cut != (0, shape[dim - 1], 1):
        starts, stops, steps = [0] * len(shape), list(shape), [1] * len(shape)
        starts[dim - 1], stops[dim - 1], steps[dim - 1] = cut
        attrs = {"starts": tuple(starts), "stops": tuple(stops), "steps": tuple(steps)}
        length = len(range(*cut))
        x = b.add(call, "slice", [x], edge="same", attrs=attrs, shape=(*shape[: dim - 1], length, *shape[dim:]))
    return b.add(call, "reshape", [x], edge="same") if drop else x


def _fake(net: Net, node: Node, ins: Sequence[Signal], run: Run) -> Signal:
    a = node.attrs
    cuts = [slice(*cut) for cut in zip(a["starts"], a["stops"], a["steps"], strict=True)]
    return ins[0].like(ins[0].raw[(slice(None), *cuts)])


def _emit(e: Emission, node: Node) -> None:
    a = node.attrs
    e.append(Slice(*e.moved(node), a["starts"], a["stops"], a["steps"]))


PARTS = {
    "aten.chunk.default": (2, False),
    "aten.split.Tensor": (2, False),
    "aten.split.sizes": (2, False),
    "aten.split_with_sizes.default": (2, False),
    "aten.tensor_split.sections": (2, False),
    "aten.tensor_split.indices": (2, False),
    "aten.unbind.int": (1, True),
}
"""Operators that give several parts of a value -> where their argument ``dim`` stands, and whether it goes."""
ATEN = {
    "aten.slice.Tensor": _slice,
    "aten.select.int": _select,
    "aten.narrow.default": _narrow,
    "<built-in function getitem>": _part,
    **dict.fromkeys(PARTS, _parts),
}
OPERATOR = Operator(kind="slice", fake=_fake, emit=_emit, aten=ATEN, moves=True, shares_memory=frozenset(ATEN))
