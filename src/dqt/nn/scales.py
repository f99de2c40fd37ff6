"""Constants of a model: ``gain * x + bias`` by channel, and tensors that are the same for every sample."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
class ScaleSpec:
    """``gain * x + bias`` as the model has it.

    Attributes:
        gain, bias: ``[C]`` of dimension 1, or ``[1]`` for all.   trained: which of the two the model trains.
    """

    gain: Tensor
    bias: Tensor
    trained: frozenset[str] = frozenset()

    def after(self, first: ScaleSpec) -> ScaleSpec:
        """Both in one: ``first``, then this."""
        gain, bias = first.gain.double(), first.bias.double()
        return ScaleSpec(self.gain.double() * gain, self.gain.double() * bias + self.bias.double())


class Scale(nn.Module):
    """``gain * x + bias`` by channel (dimension 1). Stands where a batch norm may stand, the same at every width."""

    gain: Tensor
    bias: Tensor

    def __init__(self, spec: ScaleSpec) -> None:
        super().__init__()
        for name, value in (("gain", spec.gain), ("bias", spec.bias)):
            own = value.detach().to(torch.float32, copy=True)
            if name in spec.trained:
                self.register_parameter(name, nn.Parameter(own))
            else:
                self.register_buffer(name, own)

    def forward(self, x: Tensor, b: int, share: float = 1.0, batch_statistics: bool = False) -> Tensor:
        """``gain * x + bias``; the other arguments are a batch norm's."""
        gain, bias = (v.to(x.dtype).reshape(-1, *(1 for _ in range(x.dim() - 2))) for v in (self.gain, self.bias))
        return x * gain + bias

    @property
    def trivial(self) -> bool:
        """Whether it changes nothing."""
        return bool((self.gain == 1).all()) and not bool(self.bias.any())

    def gain_and_bias(self, b: int) -> tuple[Tensor, Tensor]:
        """Float64, ``[C]`` or ``[1]`` each."""
        gain, bias = self.gain.double(), self.bias.double()
        return gain.expand(max(len(gain), len(bias))), bias.expand(max(len(gain), len(bias)))


class Held(nn.Module):
    """A tensor that is the same for every sample; ``trained``: whether the model trains it."""

    value: Tensor

    def __init__(self, value: Tensor, trained: bool) -> None:
        super().__init__()
        own = value.detach().to(torch.float32, copy=True)
        if trained:
            self.value = nn.Parameter(own)
        else:
            self.register_buffer("value", own)


class RowAffine(nn.Module):
    """Gain and bias of a norm, under the names that the model has for them; ``None``: it has none."""

    weight: nn.Parameter | None
    bias: nn.Parameter | None

    def __init__(self, weight: Tensor | None, bias: Tensor | None) -> None:
        super().__init__()
        for name, value in (("weight", weight), ("bias", bias)):
            own = None if value is None else nn.Parameter(value.detach().to(torch.float32, copy=True))
            self.register_parameter(name, own)


class Rows(nn.Module):
    """The rows of an embedding: int8 codes with a scale for each row, its largest magnitude over 127."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.detach().to(torch.float32, copy=True))

    def codes_of(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Rows ``[..., features]`` -> their codes, integers in float32, and their scales ``[..., 1]``."""
        scale = (rows.detach().abs().amax(-1, keepdim=True) / 127).clamp_min(1e-20)
        return (rows.detach() / scale).round(), scale
