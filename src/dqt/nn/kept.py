"""Values that wait for the nodes that read them, in little memory: quantized ones as their codes, a byte each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import torch
from torch import Tensor

from dqt.nn.ranges import Quantizer, Signal


@dataclass(frozen=True, eq=False)
class Kept:
    """A batch of a value.

    Attributes:
        data: master codes, uint8, of a quantized value; of another its raw tensor, float32 or integers.
    """

    data: Tensor
    quantizer: Quantizer | None
    quantized: bool

    @property
    def signal(self) -> Signal:
        """The value, made anew: what it computes for its readers lives as long as they hold it."""
        if self.quantizer is None or not self.quantized:
            return Signal(self.data, self.quantizer, self.quantized)
        return _Coded(self.data, self.quantizer)


def kept(signal: Signal) -> Kept:
    """``signal``, whose master codes say all that is read from it; what stays float becomes float32."""
    if isinstance(signal, _Coded):
        return Kept(signal.data, signal.quantizer, True)
    if signal.quantizer is not None and signal.raw.dtype == torch.uint8:  # of closed
        return Kept(signal.raw, signal.quantizer, True)
    if signal.quantizer is None or not signal.quantized:
        raw = signal.raw
        return Kept(raw.float() if raw.is_floating_point() else raw, signal.quantizer, signal.quantized)
    return coded(signal.raw.mul(signal.scale.reciprocal()).add_(signal.quantizer.zero + 0.5), signal.quantizer)


def closed(signal: Signal) -> Signal:
    """``signal`` with its master codes, uint8, as its raw tensor, where it has them: for nodes that select values."""
    return Signal(signal.data, signal.quantizer) if isinstance(signal, _Coded) else signal


def coded(codes: Tensor, quantizer: Quantizer) -> Kept:
    """The value of real master codes, zero point and 1/2 added, whose whole parts they are. Their memory is used."""
    return Kept(codes.clamp_(0, (1 << quantizer.n) - 0.5).to(torch.uint8), quantizer, True)


class _Coded(Signal):
    """A value of which there are master codes, uint8: real numbers are made when they are asked for."""

    def __init__(self, data: Tensor, quantizer: Quantizer) -> None:
        self.data = data
        super().__init__(data, quantizer)

    @property
    def raw(self) -> Tensor:
        """The real value at the master width."""
        return self.master

    @raw.setter
    def raw(self, value: Tensor) -> None:
        pass

    def _made(self, b: int, e: int, real: bool) -> Tensor:
        assert self.quantizer is not None
        n, zero = self.quantizer.n, self.quantizer.zero
        if b == n and real:
            return self._made(n, 0, False).mul_(self.quantizer.scale())
        if e or real:
            return super()._made(b, e, real)
        codes, shift = self.data, n - b
        if shift:  # (q + half) >> shift, saturating: nothing leaves a byte
            half = 1 << shift >> 1
            codes = codes.clamp(max=(1 << n) - 1 - half).add_(half).bitwise_and_((1 << n) - (1 << shift))
        return codes.float().sub_(zero) if zero else codes.float()


class Signals(Sequence[Signal]):
    """Batches of a value as signals, one at a time."""

    def __init__(self, batches: Sequence[Kept]) -> None:
        self._batches = batches

    def __len__(self) -> int:
        return len(self._batches)

    @overload
    def __getitem__(self, index: int) -> Signal: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Signal]: ...

    def __getitem__(self, index: int | slice) -> Signal | Sequence[Signal]:
        if isinstance(index, slice):
            return Signals(self._batches[index])
        return self._batches[index].signal
