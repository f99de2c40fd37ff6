"""Batch norms with a set of statistics for each width."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dqt.nn.across import Across


def own(tensor: Tensor) -> Tensor:
    """A float32 copy in torch's usual memory order: a prepared network trains so, whatever the model was in."""
    return tensor.detach().to(torch.float32).clone(memory_format=torch.contiguous_format)


class NormSet(nn.Module):
    """Affine and running statistics of one width, named as torch's batch norm names them."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, weight: Tensor | None, bias: Tensor | None, mean: Tensor, var: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones_like(mean, dtype=torch.float32) if weight is None else own(weight))
        self.bias = nn.Parameter(torch.zeros_like(mean, dtype=torch.float32) if bias is None else own(bias))
        self.register_buffer("running_mean", own(mean))
        self.register_buffer("running_var", own(var))


class Norm(NormSet):
    """Batch norm over dimension 1 with a set for each width, or one for all.

    The master's set has the names of the user's own batch norm; the others lie under ``at.<width>``.

    Attributes:
        across: the processes whose batches are parts of one batch; None: this one alone.
    """

    def __init__(
        self, weight: Tensor | None, bias: Tensor | None, mean: Tensor, var: Tensor,
        *, eps: float, momentum: float, widths: Sequence[int], master: int,
    ) -> None:  # fmt: skip
        super().__init__(weight, bias, mean, var)
        self.eps, self.momentum = eps, momentum
        self.across: Across | None = None
        others = [b for b in widths if b != master]
        self.at = nn.ModuleDict({str(b): NormSet(weight, bias, mean, var) for b in others})

    @property
    def untouched(self) -> bool:
        """Whether its statistics are those that a new batch norm begins with."""
        return not bool(self.running_mean.any()) and bool((self.running_var == 1).all())

    @torch.no_grad()
    def set_statistics(self, mean: Tensor, var: Tensor) -> None:
        """Give every width these running statistics, ``[C]`` each."""
        for each in self.sets:
            each.running_mean.copy_(mean)
            each.running_var.copy_(var)

    @property
    def sets(self) -> tuple[NormSet, ...]:
        """The sets of all widths."""
        return self, *(each for each in self.at.values() if isinstance(each, NormSet))

    def set_of(self, b: int) -> NormSet:
        """The set that serves width ``b``."""
        chosen = self.at[str(b)] if str(b) in self.at else self
        assert isinstance(chosen, NormSet)
        return chosen

    def forward(self, x: Tensor, b: int, share: float = 1.0, batch_statistics: bool = False) -> Tensor:
        """Normalize. ``share``: the part of the batch that ``x`` is, which weighs its vote on the statistics.

        In evaluation mode (frozen, inside a network that trains) its running statistics serve and stay as they are.

        A float64 ``x`` (evaluation) takes the affine map that the program folds, in float64.
        """
        s = self.set_of(b)
        if x.dtype == torch.float64 and not batch_statistics:
            gain, bias = (v.reshape(-1, *(1 for _ in range(x.dim() - 2))) for v in self.gain_and_bias(b))
            return x * gain + bias
        momentum = self.momentum * share
        batch_statistics = batch_statistics and self.training and s.training
        if batch_statistics and self.across is not None:
            return self._normalized_across(x, s, momentum, self.across)
        return F.batch_norm(x, s.running_mean, s.running_var, s.weight, s.bias, batch_statistics, momentum, self.eps)

    def _normalized_across(self, x: Tensor, s: NormSet, momentum: float, across: Across) -> Tensor:
        """By the statistics of the batches of all processes, which are of one size."""
        dims, shape = [0, *range(2, x.dim())], (-1, *(1 for _ in range(x.dim() - 2)))
        mean = across.mean(x.float().mean(dims))
        centred = x.float() - mean.reshape(shape)
        var = across.mean(centred.square().mean(dims))
        with torch.no_grad():
            samples = across.count * x.numel() // x.shape[1]
            s.running_mean.lerp_(mean, momentum)
            s.running_var.lerp_(var * (samples / max(1, samples - 1)), momentum)
        return centred * (s.weight * (var + self.eps).rsqrt()).reshape(shape) + s.bias.reshape(shape)

    def gain_and_bias(self, b: int) -> tuple[Tensor, Tensor]:
        """The affine map of evaluation at width ``b``, ``gain * x + bias``, float64 ``[C]`` each."""
        s = self.set_of(b)
        gain = s.weight.double() / (s.running_var.double() + self.eps).sqrt()
        return gain, s.bias.double() - s.running_mean.double() * gain
