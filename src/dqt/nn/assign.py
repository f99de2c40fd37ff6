"""Parts of a tensor that a model changes in place: ``x[:, 0] = y``, ``x[..., ::2].relu_()``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, fx

from dqt.nn.calls import in_place
from dqt.nn.moves import on_two, placed, reshaped, taken
from dqt.nn.operator import shares_memory
from dqt.nn.ops.constant import add_constant

if TYPE_CHECKING:
    from dqt.nn.capture import Builder


MAY_COPY = ("reshape", "reshape_as", "flatten", "contiguous", "to", "type_as", "unflatten")
"""Operators whose result is a part of their operand, or a copy where that cannot be: its strides decide."""


def is_view(b: Builder, call: fx.Node) -> bool:
    """Whether the result of ``call`` is a part of its first operand, in the same memory."""
    if str(call.target) not in shares_memory() or not isinstance(call.args[0], fx.Node):
        return False
    if str(call.target).removeprefix("aten.").split(".")[0] not in MAY_COPY:
        return True
    held = call.args[0].meta["val"]
    sizes, strides = ([b.constants.number(each, 2) for each in given] for given in (held.shape, held.stride()))
    if None in sizes + strides:
        return True
    whole = torch.empty_strided(sizes, strides, dtype=held.dtype)
    part = on_two(b, call, whole, of_shape=True)
    return part.untyped_storage()._cdata == whole.untyped_storage()._cdata


def way_to(b: Builder, view: fx.Node) -> list[fx.Node]:
    """The operators from the tensor that ``view`` is a part of, first, to ``view``, last."""
    way = [view]
    while in_place(way[0]) or is_view(b, way[0]):
        source = way[0].args[0]
        assert isinstance(source, fx.Node)
        way = [source, *way[in_place(way[0]) :]]  # what an operator changed is its operand
    return way


def copied(b: Builder, call: fx.Node) -> str:
    """Append what the first operand of ``call`` becomes: the second, one for each element or one for several."""
    view, source = call.args[0], call.args[1] if len(call.args) > 1 else 0.0  # zero_ has no other
    assert isinstance(view, fx.Node)
    b.own(view)
    shape, there, sizes = b.shape(view), b.placements.of(view), b.placements.sizes(view)
    constant = b.constants.of(source)
    if constant is not None:
        return add_constant(b, call, source, shape, change=lambda _: there.inner(constant.expand(sizes)))
    assert isinstance(source, fx.Node)
    x = b.operand(call, source)
    if b.captured.shapes[x] == shape and b.placements.of(source) == there:
        return x
    numbers = torch.arange(2 * math.prod(b.captured.shapes[x])).reshape(2, *b.captured.shapes[x])
    two = [2 * size if dim == there.dim else size for dim, size in enumerate(sizes)]
    return placed(b, call, x, there.inner(b.placements.outer(source, numbers).expand(two))[0])


def written(b: Builder, call: fx.Node, view: fx.Node, value: str) -> str:
    """Append what the whole tensor is after ``value`` was written into its part ``view``."""
    base = b.operand(call, way_to(b, view)[0])
    shape = b.captured.shapes[base]
    where, places = _where(b, view), torch.arange(math.prod(shape)).reshape(shape)
    axis = _axis(places, where)
    if axis is None:  # anywhere: one element after the other
        flat, part = reshaped(b, call, base, (places.numel(),)), reshaped(b, call, value, (where.numel(),))
        return reshaped(b, call, _put(b, call, flat, part, 0, where.flatten()), shape)
    rows = _coordinates(places, where, axis)
    part = reshaped(b, call, value, (*shape[:axis], len(rows), *shape[axis + 1 :]))
    return _put(b, call, base, part, axis, rows)


def read_again(b: Builder, call: fx.Node, view: fx.Node) -> str:
    """Append what ``view`` is after the whole tensor has changed."""
    return placed(b, call, b.operand(call, way_to(b, view)[0]), _where(b, view))


def _where(b: Builder, view: fx.Node) -> Tensor:
    """Which elements of the value of the whole tensor ``view`` has, of one sample."""
    root, *way = way_to(b, view)
    shape = b.placements.shape(root)
    numbers = b.placements.outer(root, torch.arange(2 * math.prod(shape)).reshape(2, *shape))
    for each in way:
        numbers = on_two(b, each, numbers)
    return b.placements.of(view).inner(numbers)[0]


def _coordinates(places: Tensor, where: Tensor, axis: int) -> Tensor:
    """The different places along an axis, ascending."""
    return (where.flatten() // math.prod(places.shape[axis + 1 :]) % places.shape[axis]).unique()  # type: ignore[no-untyped-call]


def _axis(places: Tensor, where: Tensor) -> int | None:
    """The only axis along which ``where`` is a part of ``places`` and not the whole, if there is one."""
    for axis in range(places.dim()):
        rows = places.index_select(axis, _coordinates(places, where, axis))
        if rows.numel() == where.numel() and torch.equal(rows.flatten(), where.flatten()):
            return axis
    return None


def _put(b: Builder, call: fx.Node, base: str, part: str, axis: int, rows: Tensor) -> str:
    """``part`` in the place of ``rows`` of ``base`` along an axis."""
    shape = b.captured.shapes[base]
    if len(rows) == shape[axis]:
        return part
    joined = (*shape[:axis], shape[axis] + len(rows), *shape[axis + 1 :])
    both = b.add(call, "concat", [base, part], attrs={"axis": axis}, shape=joined)
    index = torch.arange(shape[axis])
    index[rows] = shape[axis] + torch.arange(len(rows))
    return taken(b, call, both, axis, index.tolist())
