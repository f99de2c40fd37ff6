"""Quantizers: where an activation becomes codes. Their ranges are learned (after a ReLU) or tracked (elsewhere)."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn

from dqt.arith.nested import signed_zero
from dqt.nn import fake
from dqt.nn.across import Across
from dqt.nn.hooks import Uncalled

TINY = 1e-20
OBSERVED = 32
MOST_ONE = 1 << 20
"""The largest integer that stands for 1: its inverse in float32 tells it."""
JUMP = 8.0
"""No batch pulls a tracked range towards more than this many times itself: one wild value is not the data."""
Kind = Literal["relu", "unsigned", "signed", "unit"]


def levels_of(zero: int, n: int) -> int:
    """Codes between a zero point and the end of ``[0, 2^n - 1]`` that is further from it; up, where both are as far."""
    return zero if zero > signed_zero(n) else (1 << n) - 1 - zero


class Quantizer(Uncalled):
    """Quantizer of one activation: ``scale = clip / levels``, and a zero point.

    Kinds: ``"relu"``, whose clamp is the activation and whose clip is learned; ``"unsigned"``, never negative, tracked;
    ``"signed"``, tracked; ``"unit"``, tracked: shares between 0 and 1, and an integer of their codes stands for 1. The
    zero point of ``"signed"`` starts as ``2^(n-1)``, and calibration chooses it with the range (:mod:`dqt.nn.zeros`);
    all others have 0.

    Attributes:
        clip: 0-d float32, the largest magnitude that is represented, on the side of zero that has more codes. A
            parameter where it is learned (``kind`` is ``"relu"``), a buffer that follows the data where it is tracked.
        zero_point: 0-d int32, as the state dict keeps it.   zero: the same as a number.
        cap: a bound that the model itself sets (6 for ReLU6); the clip never passes it.
        features: elements per sample, for the scale of the clip's gradient.
        across: the processes whose batches are parts of one batch; None: this one alone.
    """

    clip: Tensor
    ratio: Tensor
    zero_point: Tensor

    def __init__(self, name: str, kind: Kind, n: int, features: int, momentum: float, cap: float = math.inf) -> None:
        super().__init__()
        self.name, self.kind, self.n, self.cap = name, kind, n, cap
        self.zero = signed_zero(n) if kind == "signed" else 0
        self.register_buffer("zero_point", torch.tensor(self.zero, dtype=torch.int32))
        self.momentum = momentum
        self.across: Across | None = None
        self.gradient_scale = 1.0 / math.sqrt(features * self.levels)
        if kind == "relu":
            self.clip = nn.Parameter(torch.tensor(1.0, dtype=torch.float32))
        else:
            self.register_buffer("clip", torch.tensor(1.0, dtype=torch.float32))
            self.register_buffer("ratio", torch.tensor(1.0, dtype=torch.float32))

    @property
    def levels(self) -> int:
        """Codes between the zero point and the end of the range that is further from it."""
        return levels_of(self.zero, self.n)

    @torch.no_grad()
    def set_zero(self, zero: int) -> None:
        """Set the zero point."""
        self.zero = zero
        self.zero_point.fill_(zero)

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *rest: Any) -> None:
        """With the former zero point from a state dict that has none: one of before, whole."""
        if f"{prefix}clip" in state and (self.learned or f"{prefix}ratio" in state):
            former = signed_zero(self.n) if self.kind == "signed" else 0
            state.setdefault(f"{prefix}zero_point", torch.tensor(former, dtype=torch.int32))
        super()._load_from_state_dict(state, prefix, *rest)
        self.zero = int(self.zero_point)

    @property
    def learned(self) -> bool:
        """Whether the clip is a parameter."""
        return self.kind == "relu"

    def scale(self) -> Tensor:
        """The real scale of one master code, 0-d float32 > 0, with the clip's gradient."""
        if self.kind == "unit":
            return self.clip.new_ones(()) / self.one
        clip = fake.scale_gradient(self.clip, self.gradient_scale) if self.learned else self.clip
        return clip.clamp(TINY, self.cap) / self.levels

    @property
    def one(self) -> Tensor:
        """The integer that stands for 1 in codes of shares, 0-d float32: beyond the largest code, if none is near 1."""
        return (self.levels / self.clip.clamp(self.levels / MOST_ONE, 1.0)).round()

    def activate(self, raw: Tensor) -> Tensor:
        """The float model's own activation: ReLU (capped) or nothing."""
        return raw.clamp(0.0, self.cap) if self.kind == "relu" else raw

    @torch.no_grad()
    def observe(self, raw: Tensor) -> None:
        """Move a tracked range towards this batch: ``clip <- g * clip + (1 - g) * ratio * max|raw|``.

        A few dozen samples tell the batch's maximum well enough, at a part of the memory traffic. What a batch
        pulls towards is at most ``JUMP * clip``.
        """
        largest = self._largest(raw.detach()).float() * self.ratio
        moved = self.momentum * self.clip + (1 - self.momentum) * torch.minimum(largest, JUMP * self.clip)
        self.clip.copy_(torch.where(torch.isfinite(largest), moved, self.clip))

    def _largest(self, raw: Tensor) -> Tensor:
        """The largest magnitude among the first ``OBSERVED`` samples of the batch, this process's or all processes'."""
        first = raw[:OBSERVED] if self.across is None else raw[: max(0, OBSERVED - self.across.rank * len(raw))]
        if first.numel():
            low, high = first.aminmax()
            found = torch.maximum(-low, high)
        else:
            found = raw.new_zeros(())
        return found if self.across is None else self.across.largest(found)

    @torch.no_grad()
    def set_range(self, clip: float, peak: float) -> None:
        """Set the clip from calibration (0: a dead quantizer, range 1).

        ``peak`` is the mean of the largest magnitudes of as many samples as :meth:`observe` looks at: the tracked range
        starts where it stands.
        """
        value = min(clip, self.cap) if clip > TINY else 1.0
        self.clip.fill_(value)
        if not self.learned:
            self.ratio.fill_(value / peak if peak > TINY else 1.0)


class Signal:
    """A value on its way through the network: the raw tensor, and its quantized forms, each made once when asked for.

    The network's output and the controller's logits have no quantizer: they stay int32, and are not quantized here. Max
    pooling, reshaping, slicing and zero padding commute with quantization, so they work on ``raw`` and keep the
    quantizer. ``shared``: both layers and operators at the master width read it.
    """

    def __init__(self, raw: Tensor, quantizer: Quantizer | None, quantized: bool = True) -> None:
        self.raw, self.quantizer, self.quantized, self.shared = raw, quantizer, quantized, False
        self._cache: dict[tuple[int, int, bool], Tensor] = {}
        self._scale: Tensor | None = None

    def codes(self, b: int, e: int = 0) -> Tensor:
        """``T_b(q) - zero`` at width ``b``, which reads a range of ``2^-e`` of the master's; integers in float32."""
        return self._narrow(b, e, False)

    def real(self, b: int, e: int = 0) -> Tensor:
        """``scale * (T_b(q) - zero)`` at width ``b``; in an unquantized run the float activation itself."""
        return self._narrow(b, e, True)

    @property
    def master(self) -> Tensor:
        """The real value at the master width."""
        return self.raw if self.quantizer is None else self.real(self.quantizer.n)

    def _narrow(self, b: int, e: int, real: bool) -> Tensor:
        if (b, e, real) not in self._cache:
            self._cache[b, e, real] = self._made(b, e, real)
        return self._cache[b, e, real]

    def _made(self, b: int, e: int, real: bool) -> Tensor:
        if self.quantizer is None:
            return self.raw
        if not self.quantized:
            return self.quantizer.activate(self.raw)
        zero, n = self.quantizer.zero, self.quantizer.n
        nested = e == 0 and zero % (1 << (n - b)) == 0
        if real and self.shared and b < n and nested:
            return fake.narrow_master(self.master, self.scale, zero, n, b)
        return fake.narrow_activation(self.raw, self.scale, zero, n, b, e, real=real)

    @property
    def scale(self) -> Tensor:
        """The real size of 1 in :meth:`codes`, 0-d."""
        if self._scale is None:
            quantizer = self.quantizer if self.quantized else None
            self._scale = torch.ones((), device=self.raw.device) if quantizer is None else quantizer.scale()
        return self._scale

    def like(self, raw: Tensor) -> Signal:
        """Another raw tensor on the same quantizer."""
        return Signal(raw, self.quantizer, self.quantized)
