"""Parts of a value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

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
    start, stop, step = b.arg(call, 2, "start"), b.arg(call, 3, "end"), int(b.arg(call, 4, "step", 1))
    source, dim = _source(b, call)
    length = b.placements.sizes(source)[dim]
    ends = [b.constants.number(each) for each in (0 if start is None else start, 2**63 - 1 if stop is None else stop)]
    if None in ends:
        raise b.unsupported(call, "is cut at a place that is computed from the input")
    first, last, step = slice(ends[0], ends[1], step).indices(length)
    if dim != b.placements.of(source).dim:
        return _cut(b, call, source, b.placements.axis(call, source, dim), (first, last, step))
    whole = start in (None, 0) and stop in (None, 2**63 - 1) and step == 1
    fixed = [each for each in (start, stop) if isinstance(each, int) and 0 < each < 2**63 - 1]
    if not whole and (fixed or step != 1):
        raise b.unsupported(call, "slices the batch")
    return _samples(b, call, source, (first, last))


def _select(b: Builder, call: fx.Node) -> str:
    source, dim = _source(b, call)
    index = int(b.arg(call, 2, "index")) % b.placements.sizes(source)[dim]
    return _cut(b, call, source, b.placements.axis(call, source, dim), (index, index + 1, 1), drop=True)


def _narrow(b: Builder, call: fx.Node) -> str:
    source, dim = _source(b, call)
    first = int(b.arg(call, 2, "start")) % b.placements.sizes(source)[dim]
    return _cut(
        b, call, source, b.placements.axis(call, source, dim), (first, first + int(b.arg(call, 3, "length")), 1)
    )


def _source(b: Builder, call: fx.Node, index: int = 1) -> tuple[fx.Node, int]:
    """What a call takes a part of, and the dimension of the model's tensor that it works along."""
    source = call.args[0]
    b.operand(call, source)
    assert isinstance(source, fx.Node)
    return source, int(b.arg(call, index, "dim", 0)) % source.meta["val"].dim()


def _parts(b: Builder, call: fx.Node) -> str:
    """Several parts of one value: each is cut where it is taken."""
    source, _ = _source(b, call, PARTS[str(call.target)][0])
    b.placements.put(call, b.placements.of(source))
    return b.operand(call, source)


def _part(b: Builder, call: fx.Node) -> str:
    """One of the parts that an operator such as ``chunk`` gives, or the first result of one such as ``max``."""
    parent, index = call.args
    assert isinstance(parent, fx.Node)
    if index == 0 and str(parent.target) not in PARTS:
        return b.operand(call, parent)
    if str(parent.target) not in PARTS or not isinstance(index, int):
        raise b.unsupported(call, "takes one of several results, which is no value of the network")
    at, drop = PARTS[str(parent.target)]
    source, dim = _source(b, parent, at)
    lengths = [b.constants.number(1 if drop else part.shape[dim]) for part in parent.meta["val"]]
    first = sum(lengths[:index])
    if dim == b.placements.of(source).dim and not drop:
        return _samples(b, call, source, (first, first + lengths[index]))
    return _cut(b, call, source, b.placements.axis(call, source, dim), (first, first + lengths[index], 1), drop=drop)


def _samples(b: Builder, call: fx.Node, source: fx.Node, cut: tuple[int, int]) -> str:
    """Append a part of the batches that were joined one after the other: for a batch of one, those of ``cut``."""
    placed, (first, last) = b.placements.of(source), cut
    if (first, last) == (0, placed.before * placed.after):
        b.placements.put(call, placed)
        return b.operand(call, source)
    if placed.after > 1 or not b.placements.sized(call):
        raise b.unsupported(call, "divides the batch")
    b.placements.put(call, replace(placed, before=last - first))
    return _cut(b, call, source, placed.dim, (first, last, 1), drop=last - first == 1)


def _cut(
    b: Builder, call: fx.Node, source: fx.Node, axis: int, cut: tuple[int, int, int], *, drop: bool = False
) -> str:
    """Append ``source[..., start:stop:step, ...]`` along ``axis``; ``drop``: the axis, which then has one element."""
    x = b.operand(call, source)
    shape = b.captured.shapes[x]
    if cut != (0, shape[axis], 1):
        starts, stops, steps = [0] * len(shape), list(shape), [1] * len(shape)
        starts[axis], stops[axis], steps[axis] = cut
        attrs = {"starts": tuple(starts), "stops": tuple(stops), "steps": tuple(steps)}
        shape = (*shape[:axis], len(range(*cut)), *shape[axis + 1 :])
        x = b.add(call, "slice", [x], quantizer="same", attrs=attrs, shape=shape)
    return b.add(call, "reshape", [x], quantizer="same") if drop else x


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
OPERATOR = Operator(
    kind="slice", fake=_fake, emit=_emit, aten=ATEN, moves=True, selects=True, shares_memory=frozenset(ATEN)
)
