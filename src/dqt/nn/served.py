"""The integer program of a network, made once for as long as its parameters stand still."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor

from dqt.arith.errors import InputError
from dqt.nn.emission import emit
from dqt.nn.hooks import compute_weights
from dqt.nn.norms import Norm
from dqt.nn.ranges import Quantizer
from dqt.program.program import Program

if TYPE_CHECKING:
    from dqt.nn.net import Net


_Places: TypeAlias = tuple[tuple[int, int], ...]
"""Address and version of each tensor."""


@dataclass(frozen=True)
class _State:
    """Everything that a program is made from: tensors, and the numbers beside them."""

    tensors: tuple[Tensor, ...]
    numbers: tuple[float, ...]


class Served:
    """The program of one network, kept with a copy of the parameters that it was made from.

    Whether a parameter changed is told by its numbers, because nothing else tells it of every way to change one: not a
    sum, which a permutation keeps, nor its place in memory and its version, which an edit through ``.data`` keeps. The
    copy costs as much memory as the parameters.
    """

    def __init__(self) -> None:
        self._kept: tuple[_State, Program] | None = None
        self._holders: set[object] = set()  # each block of held() that runs now, in whatever thread
        self._held: _Places | None = None

    def of(self, net: Net) -> Program:
        """The program of the parameters as they are now."""
        places = _places(net) if self._holders else None
        kept = self._kept
        if kept is not None and places is not None and places == self._held:
            return kept[1]
        compute_weights(net)
        now = _State(tuple(_tensors(net)), _numbers(net))
        if kept is None or not _equal(kept[0], now):
            self._kept = None  # its memory first
            made = emit(net, {})
            self._kept = kept = (_State(tuple(t.clone() for t in now.tensors), now.numbers), made)
        self._held = places
        return kept[1]

    @contextmanager
    def held(self, net: Net) -> Iterator[None]:
        """Within it the parameters stand still: their numbers are compared at its ends alone.

        Inside, only what torch counts as an edit is followed.

        Raises:
            InputError: at the end, numbers changed in a way that torch does not count.
        """
        me = object()
        if not self._holders:
            self._held = None
        self._holders.add(me)
        try:
            yield
            if len(self._holders) == 1:
                self._check_still(net)
        finally:
            self._holders.discard(me)
            if not self._holders:
                self._held = None

    def _check_still(self, net: Net) -> None:
        if self._kept is None or self._held is None or self._held != _places(net):
            return
        compute_weights(net)
        if not _equal(self._kept[0], _State(tuple(_tensors(net)), _numbers(net))):
            raise InputError(
                "parameters of the network changed inside net.frozen(), so its exact runs may be of those before: "
                "leave the block before the parameters change"
            )


def _places(net: Net) -> _Places:
    return tuple((t.data_ptr(), 0 if t.is_inference() else t._version) for t in _tensors(net))


def _tensors(net: Net) -> Iterator[Tensor]:
    """Parameters, buffers, and what hooks of torch compute from these."""
    computed = (t for module in net.modules() for t in vars(module).values() if isinstance(t, Tensor))
    return (t.detach() for t in (*net.parameters(), *net.buffers(), *computed))


def _numbers(net: Net) -> tuple[float, ...]:
    """What a program depends on beside tensors."""
    modules = list(net.modules())
    eps = (m.eps for m in modules if isinstance(m, Norm))
    return (*eps, *(m.cap for m in modules if isinstance(m, Quantizer)))


def _equal(a: _State, b: _State) -> bool:
    if a.numbers != b.numbers or len(a.tensors) != len(b.tensors):
        return False
    pairs = list(zip(a.tensors, b.tensors, strict=True))
    if any(s.shape != t.shape or s.dtype != t.dtype or s.device != t.device for s, t in pairs):
        return False
    return all(torch.equal(s, t) for s, t in pairs)
