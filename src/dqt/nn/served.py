"""The integer program of a network, made once for as long as its parameters stand still."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dqt.nn.emission import emit
from dqt.nn.layers import Norm
from dqt.nn.ranges import Edge
from dqt.program.program import Program

if TYPE_CHECKING:
    from dqt.nn.net import Net


@dataclass(frozen=True)
class _State:
    """Everything that a program is made from: tensors, and the numbers beside them."""

    tensors: tuple[Tensor, ...]
    numbers: tuple[float, ...]


class Served:
    """The program of one network, kept with a copy of the parameters that it was made from.

    Whether a parameter changed is told by its numbers, because nothing else tells it of every way to change one: not a
    sum, which a permutation keeps, nor its place in memory and its version, which an edit through ``.data`` keeps. The
    copy costs as much memory as the parameters; inside :meth:`held` there is none.
    """

    def __init__(self) -> None:
        self._kept: tuple[_State, Program] | None = None
        self._held: tuple[tuple[tuple[int, int], ...], Program | None] | None = None

    def of(self, net: Net) -> Program:
        """The program of the parameters as they are now."""
        if self._held is not None:
            return self._of_held(net)
        kept = self._kept
        now = _State(tuple(_tensors(net)), _numbers(net))
        if kept is None or not _equal(kept[0], now):
            self._kept = None  # its memory first
            made = emit(net, {})
            self._kept = kept = (_State(tuple(t.clone() for t in now.tensors), now.numbers), made)
        return kept[1]

    def _of_held(self, net: Net) -> Program:
        """Without a look at the numbers: anew only where a tensor was replaced or edited in a way that counts edits."""
        key = tuple((t.data_ptr(), 0 if t.is_inference() else t._version) for t in _tensors(net))
        program = self._held[1] if self._held is not None and self._held[0] == key else None
        if program is None:
            program = emit(net, {})
            self._held = (key, program)
        return program

    @contextmanager
    def held(self) -> Iterator[None]:
        """Within it the parameters stand still, so the program is made once and nothing is compared."""
        before = self._held
        self._held = before or ((), None)
        try:
            yield
        finally:
            self._held = before


def _tensors(net: Net) -> Iterator[Tensor]:
    return (t.detach() for t in (*net.parameters(), *net.buffers()))


def _numbers(net: Net) -> tuple[float, ...]:
    """What a program depends on beside tensors."""
    modules = list(net.modules())
    eps = (m.eps for m in modules if isinstance(m, Norm))
    return (*eps, *(m.cap for m in modules if isinstance(m, Edge)))


def _equal(a: _State, b: _State) -> bool:
    if a.numbers != b.numbers or len(a.tensors) != len(b.tensors):
        return False
    pairs = list(zip(a.tensors, b.tensors, strict=True))
    if any(s.shape != t.shape or s.dtype != t.dtype or s.device != t.device for s, t in pairs):
        return False
    return all(torch.equal(s, t) for s, t in pairs)
