"""Where the batch stands in a tensor of the model, and which dimensions of a value the tensor's others are.

Every value of a network is ``[N, ...]``, the batch first and alone. A model may move the batch, and may count others in
the same dimension (windows of an image, frames of a film). Such a tensor has the elements of a value, whose dimensions
after the batch, its *axes*, are numbered from 0 and stand in the same order.

    tensor of the model     value               placement
    [N, T, C]               [N, T, C]           (0, 1, 1)
    [T, N, C]               [N, T, C]           (1, 1, 1)
    [N * k, T, C]           [N, k, T, C]        (0, 1, k)
    [T, k * N, C]           [N, T, k, C]        (1, k, 1)
    [N]                     [N, 1]              (0, 1, 1)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, fx

from dqt.nn.calls import shape_of
from dqt.nn.errors import UnsupportedError

Sizes = tuple[int, ...]
"""Of a tensor of the model for a batch of one sample."""


@dataclass(frozen=True)
class Placement:
    """Where the batch stands: dimension ``dim`` counts ``before * N * after`` elements, in this order.

    Invariants: ``before``, ``after`` >= 1. Where they are not 1, they are axes of the value, in the place of ``dim``.
    """

    dim: int = 0
    before: int = 1
    after: int = 1

    @property
    def extra(self) -> Sizes:
        """The lengths of the axes that stand for the batch's own dimension."""
        return tuple(length for length in (self.before, self.after) if length != 1)

    @property
    def plain(self) -> bool:
        """Whether the batch is the first dimension, alone."""
        return self == Placement()

    def axis(self, dim: int) -> int | None:
        """The axis of a dimension of the model's tensor; ``None``: it is the batch's."""
        if dim == self.dim:
            return None
        return dim if dim < self.dim else dim - 1 + len(self.extra)

    def shape(self, sizes: Sizes) -> Sizes:
        """The value's shape, without the batch, of a tensor of the model: of one number a sample ``(1,)``."""
        return (*sizes[: self.dim], *self.extra, *sizes[self.dim + 1 :]) or (1,)

    def shifted(self, dims: int) -> Placement:
        """In a tensor with so many more dimensions ahead."""
        return replace(self, dim=self.dim + dims)

    def permuted(self, order: Sequence[int]) -> tuple[Placement, Sizes]:
        """In a tensor whose dimensions are these of ours, and in which order it has our axes."""
        axes: list[int] = []
        for dim in order:
            axis = self.axis(dim)
            axes += range(self.dim, self.dim + len(self.extra)) if axis is None else [axis]
        return replace(self, dim=list(order).index(self.dim)), tuple(axes)

    def reshaped(self, old: Sizes, new: Sizes, dim: int) -> Placement | None:
        """In a tensor of sizes ``new`` with the same elements in the same order, the batch in its dimension ``dim``.

        ``None``: its other dimensions are not those of single samples.
        """
        ahead, lead = math.prod(old[: self.dim]) * self.before, math.prod(new[:dim])
        before, rest = divmod(ahead, lead) if lead else (0, 1)
        if rest or not before or new[dim] % before:
            return None
        return Placement(dim, before, new[dim] // before)

    def inner(self, tensor: Tensor) -> Tensor:
        """The value ``[N, ...]`` of a tensor of the model."""
        parts = tensor.reshape(*tensor.shape[: self.dim], self.before, -1, self.after, *tensor.shape[self.dim + 1 :])
        parts = parts.movedim(self.dim + 1, 0)
        return parts.reshape(len(parts), *self.shape(tuple(tensor.shape)))

    def outer(self, value: Tensor, rank: int) -> Tensor:
        """The tensor of the model, of ``rank`` dimensions, that a value ``[N, ...]`` is."""
        lead, behind = value.shape[1 : 1 + self.dim], value.shape[1 + self.dim + len(self.extra) :]
        parts = value.reshape(len(value), *lead, self.before, self.after, *behind).movedim(0, self.dim + 1)
        whole = parts.flatten(self.dim, self.dim + 2)
        return whole if whole.dim() == rank else whole.flatten()


class Placements:
    """The placement of each tensor of an exported graph.

    Args:
        number: a size of the graph -> what it is for a batch of so many samples; ``None``: it follows from something
            else.
        unsupported: the error of an operator, and why.
    """

    def __init__(
        self, number: Callable[[Any, int], Any], unsupported: Callable[[fx.Node, str], UnsupportedError]
    ) -> None:
        self._number, self._unsupported = number, unsupported
        self._of: dict[fx.Node, Placement] = {}

    def put(self, call: fx.Node, placement: Placement) -> None:
        """Record a placement."""
        self._of[call] = placement

    def of(self, call: fx.Node) -> Placement:
        """The placement of ``call``: as it was put, or as follows from its shape and from the placements that it reads.

        What an operator counts beside the batch is what its operand counted there, unless the operator says otherwise.

        Raises:
            UnsupportedError: samples are mixed with other dimensions.
        """
        if call not in self._of:
            self._of[call] = self._inferred(call)
        return self._of[call]

    def note(self, call: fx.Node) -> None:
        """Infer the placement of a value now, for what reads it, unless it is none of one batch."""
        with suppress(UnsupportedError):
            self.of(call)

    def _inferred(self, call: fx.Node) -> Placement:
        sizes, dim = self.batched(call)
        if sizes[dim] == 1:
            return Placement(dim)
        read = (self._of[each] for each in call.all_input_nodes if each in self._of)
        found = next((replace(p, dim=dim) for p in read if p.before * p.after == sizes[dim]), None)
        if found is None:
            raise self._unsupported(call, f"gives shape {shape_of(call)}, which mixes samples with other dimensions")
        return found

    def sized(self, call: fx.Node) -> bool:
        """Whether one dimension of ``call`` is the batch, or a multiple of it, and all others are fixed."""
        return self._parts(call) is not None

    def batched(self, call: fx.Node) -> tuple[Sizes, int]:
        """The sizes of ``call`` for one sample, and the dimension that is the batch, or a multiple of it.

        Raises:
            UnsupportedError: there is none, or others are not fixed.
        """
        found = self._parts(call)
        if found is None:
            raise self._unsupported(
                call, f"gives shape {shape_of(call)}: one dimension must be the batch, or a multiple of it"
            )
        return found

    def sizes(self, call: fx.Node) -> Sizes:
        """The sizes of ``call`` for one sample; errors as in :meth:`batched`."""
        return self.batched(call)[0]

    def shape(self, call: fx.Node) -> Sizes:
        """The shape of the value, without the batch; errors as in :meth:`of`."""
        return self.of(call).shape(self.sizes(call))

    def outer(self, call: fx.Node, value: Tensor) -> Tensor:
        """The tensor of the model that a value of ``call`` is."""
        return self.of(call).outer(value, _first(call).dim())

    def axes(self, call: fx.Node) -> int:
        """How many dimensions of its value are those of ``call``: none of one number a sample."""
        return _first(call).dim() - 1 + len(self.of(call).extra)

    def axis(self, call: fx.Node, arg: fx.Node, dim: int) -> int:
        """The axis of the value of ``arg``, which ``call`` reads, that a dimension of it is.

        Raises:
            UnsupportedError: it is the batch.
        """
        found = self.of(arg).axis(dim % _first(arg).dim())
        if found is None:
            raise self._unsupported(call, "works along the batch")
        return found

    def _parts(self, call: fx.Node) -> tuple[Sizes, int] | None:
        one, two = ([self._number(d, samples) for d in _first(call).shape] for samples in (1, 2))
        longer = [dim for dim, (a, b) in enumerate(zip(one, two, strict=True)) if a != b]
        if None in one or len(longer) != 1 or two[longer[0]] != 2 * one[longer[0]]:
            return None
        return tuple(one), longer[0]


def _first(call: fx.Node) -> Tensor:
    """The tensor that a call gives, or the first of them."""
    held = call.meta["val"]
    return held if isinstance(held, Tensor) else held[0]
