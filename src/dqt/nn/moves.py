"""Operators that only move elements, as nodes: slices, reorderings, and elements picked by index.

Which element an operator of ATen puts where (rolled, repeated, indexed by lists) the operator itself says: it runs once
on the elements' own numbers (:func:`sources`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx

from dqt.nn.calls import shape_of
from dqt.nn.placement import Placement

if TYPE_CHECKING:
    from dqt.nn.capture import Builder

Shape = tuple[int, ...]


def reshaped(b: Builder, call: fx.Node, x: str, shape: Shape) -> str:
    """``x`` in another shape; one number a sample has the shape ``(1,)``."""
    shape = shape or (1,)
    return x if b.captured.shapes[x] == shape else b.add(call, "reshape", [x], quantizer="same", shape=shape)


def returned(b: Builder, result: fx.Node) -> str:
    """The value of an output of the model; one number a sample has no dimension there but the batch."""
    value = b.values[result]
    return value if b.placements.axes(result) else b.add(result, "reshape", [value], quantizer="same", shape=())


def transposed(b: Builder, call: fx.Node, x: str, axes: Sequence[int]) -> str:
    """``x`` with its dimensions in the order ``axes``; 0 is the first after the batch. One number has none."""
    shape, order = b.captured.shapes[x], tuple(axes) or (0,)
    if order == tuple(range(len(shape))):
        return x
    moved = tuple(shape[axis] for axis in order)
    return b.add(call, "transpose", [x], quantizer="same", shape=moved, attrs={"axes": order})


def with_first(b: Builder, call: fx.Node, x: str, axis: int, append: Callable[[str], str]) -> str:
    """What ``append`` makes of ``x`` with dimension ``axis`` as the first, in the dimensions of ``x``."""
    rank = range(len(b.captured.shapes[x]))
    order = (axis, *(i for i in rank if i != axis))
    return transposed(b, call, append(transposed(b, call, x, order)), [order.index(i) for i in rank])


def taken(b: Builder, call: fx.Node, x: str, axis: int, indices: Sequence[int]) -> str:
    """The elements ``indices`` of ``x`` along ``axis``: a slice where they follow each other in equal steps forward."""
    shape = b.captured.shapes[x]
    if tuple(indices) == tuple(range(shape[axis])):
        return x
    moved = (*shape[:axis], len(indices), *shape[axis + 1 :])
    steps = {after - before for before, after in pairwise(indices)} or {1}
    if len(steps) == 1 and min(steps) > 0:
        cut = (indices[0], indices[-1] + 1, min(steps))
        attrs: dict[str, Any] = _cut(shape, axis, cut)
        return b.add(call, "slice", [x], quantizer="same", shape=moved, attrs=attrs)
    attrs = {"axis": axis, "indices": tuple(indices)}
    return b.add(call, "gather", [x], quantizer="same", shape=moved, attrs=attrs)


def _cut(shape: Shape, axis: int, cut: tuple[int, int, int]) -> dict[str, Shape]:
    """The attributes of a slice that cuts one dimension."""
    starts, stops, steps = [0] * len(shape), list(shape), [1] * len(shape)
    starts[axis], stops[axis], steps[axis] = cut
    return {"starts": tuple(starts), "stops": tuple(stops), "steps": tuple(steps)}


def moved(b: Builder, call: fx.Node) -> str:
    """Append what moves the elements of the first operand as ``call`` does.

    Raises:
        UnsupportedError: it moves elements from sample to sample, or makes new ones.
    """
    x, where = b.operand(call, call.args[0]), sources(b, call)
    return placed(b, call, x, where)


def placed(b: Builder, call: fx.Node, x: str, where: Tensor) -> str:
    """The elements of ``x`` with the numbers ``where``, row-major in one sample, in the shape of ``where``."""
    shape = b.captured.shapes[x]
    grown = (1,) * (where.dim() - len(shape)) + shape  # what repeats may have more dimensions
    by_axis = _by_axis(where, grown) if len(grown) == where.dim() else None
    if by_axis is None:
        flat = taken(b, call, reshaped(b, call, x, (math.prod(shape),)), 0, where.flatten().tolist())
        return reshaped(b, call, flat, tuple(where.shape))
    x = reshaped(b, call, x, grown)
    for axis, indices in sorted(enumerate(by_axis), key=lambda each: len(each[1]) - grown[each[0]]):
        x = taken(b, call, x, axis, indices)
    return x


def _by_axis(where: Tensor, shape: Shape) -> list[list[int]] | None:
    """The indices along each dimension, if every element comes from places that its own place along each says."""
    found, total = [], torch.zeros((1,) * len(shape), dtype=torch.int64)
    for axis, length in enumerate(shape):
        stride = math.prod(shape[axis + 1 :])
        line = where.movedim(axis, -1).reshape(-1, where.shape[axis])[0] // stride % length
        found.append(line.tolist())
        total = total + (line * stride).reshape(-1, *(1,) * (len(shape) - axis - 1))
    return found if bool((total == where).all()) else None


def sources(b: Builder, call: fx.Node) -> Tensor:
    """For each element of the result of ``call``, which element of its first operand it is, of one sample; int64.

    Where the batch stands in the result is recorded.

    Raises:
        UnsupportedError: see :func:`moved`.
    """
    source = call.args[0]
    assert isinstance(source, fx.Node)
    shape = b.captured.shapes[b.operand(call, source)]
    count = math.prod(shape)
    numbers = torch.arange(2 * count, dtype=torch.float64).reshape(2, *shape)
    result = on_two(b, call, b.placements.outer(source, numbers)).long()
    for placement in _possible(b, call, b.placements.of(source)):
        first, second = placement.inner(result)
        if (
            int(first.min()) >= 0
            and int(first.max()) < count
            and torch.equal(second - first, torch.full_like(first, count))
        ):
            b.placements.put(call, placement)
            return first
    raise b.unsupported(call, "moves elements from one sample of the batch to another")


def _possible(b: Builder, call: fx.Node, before: Placement) -> Iterator[Placement]:
    """Where the batch may stand in the result of ``call``: first, counted as it was in the operand."""
    sizes, dim = b.placements.batched(call)
    ways = [Placement(dim, n, sizes[dim] // n) for n in range(1, sizes[dim] + 1) if sizes[dim] % n == 0]
    yield from sorted(ways, key=lambda each: each.before != before.before)


def on_two(b: Builder, call: fx.Node, first: Tensor, *, of_shape: bool = False) -> Tensor:
    """What ``call`` computes for a batch of two samples, with ``first`` in the place of its first operand.

    Other activations among its operands are zeros.

    Args:
        of_shape: what these hold changes no more than the numbers of the result.
    """

    def value(arg: fx.Node) -> Any:
        if b.constants.known(arg):
            return b.constants.value(arg, 2)
        held = arg.meta["val"]
        if not held.is_floating_point() and not of_shape:
            raise b.unsupported(call, f"reads indices or a mask, {arg.name}, that are computed from the input")
        return torch.zeros([b.constants.number(d, 2) for d in held.shape], dtype=held.dtype)

    args: Any = fx.map_arg(call.args[1:], value)
    kwargs: Any = fx.map_arg(call.kwargs, value)
    target: Any = call.target
    with torch.no_grad():
        result: Tensor = target(first, *args, **kwargs)
    return result


def images(b: Builder, call: fx.Node) -> tuple[str, Shape]:
    """The first operand of ``call``, which works on each channel of images alone, and the shape of its result.

    What the model counts in the dimension of the batch are more channels: ``[N, k * C, H, W]``.
    """
    source = call.args[0]
    assert isinstance(source, fx.Node)
    x, extra = b.operand(call, source), b.placements.of(source).extra
    if b.placements.of(source).dim:
        raise b.unsupported(call, f"reads a tensor of shape {shape_of(source)}: its first dimension must be the batch")
    channels = len(extra) + 1
    merged = [(math.prod(shape[:channels]), *shape[channels:]) for shape in (b.captured.shapes[x], b.shape(call))]
    return reshaped(b, call, x, merged[0]), merged[1]


def kept_axes(b: Builder, call: fx.Node, dim: Any) -> tuple[Shape, Shape]:
    """The axes that a reduction over ATen's dimensions ``dim`` goes over, and its operand's shape with 1 along each.

    Args:
        dim: ``None`` or none: all. Axes are dimensions of the value, 0 the first after the batch; they ascend.

    Raises:
        UnsupportedError: it reduces the batch.
    """
    source = call.args[0]
    assert isinstance(source, fx.Node)
    shape = b.captured.shapes[b.operand(call, source)]
    dims = [dim] if isinstance(dim, int) else list(dim or range(source.meta["val"].dim()))
    if any(int(d) % source.meta["val"].dim() == b.placements.of(source).dim for d in dims):
        raise b.unsupported(call, "reduces over the batch")
    axes = tuple(sorted({b.placements.axis(call, source, int(d)) for d in dims}))
    return axes, tuple(1 if i in axes else d for i, d in enumerate(shape))


def without(b: Builder, call: fx.Node, x: str, axes: Shape, *, keep: bool) -> str:
    """``x``, 1 long along ``axes``, without these dimensions unless they are to be kept."""
    shape = b.captured.shapes[x]
    return x if keep else reshaped(b, call, x, tuple(d for i, d in enumerate(shape) if i not in axes))
