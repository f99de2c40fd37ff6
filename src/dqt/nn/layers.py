"""The layers that carry a width, and the batch norm that follows them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dqt.nn import fake
from dqt.nn.across import Across
from dqt.nn.folds import Deep, Flipped, Fold, Phases
from dqt.nn.reading import Reading, plain_reading, reading_of
from dqt.nn.scales import Scale

TINY = 1e-12
WeightClip = Literal["learned", "statistic"]
LAYER_ITSELF = Fold()


def _own(tensor: Tensor) -> Tensor:
    """A float32 copy in torch's usual memory order: a prepared network trains so, whatever the model was in."""
    return tensor.detach().to(torch.float32).clone(memory_format=torch.contiguous_format)


class WidthLayer(nn.Module):
    """A weight ``[out, in, ...]`` that is read at any width: its clip, its midpoints, its bias and corrections.

    Attributes:
        clip: ``[out]``, per output channel; ``scale = clip / ((2^n - 1) / 2)``.
        correction, gain: ``[widths, out]``: at each width the layer's product is multiplied by ``gain``, then
            ``correction`` is added (what calibration finds; in the program both are parts of the constants by width).
        reading: how the widths read weights and activations; the state dict holds it.
        fold: how the filters lie in the program.
    """

    clip: Tensor
    correction: Tensor
    gain: Tensor
    reading_as: Tensor

    def __init__(
        self,
        name: str,
        weight: Tensor,
        bias: Tensor | None,
        n: int,
        widths: Sequence[int],
        clip: WeightClip,
        fold: Fold = LAYER_ITSELF,
    ) -> None:
        super().__init__()
        self.name, self.n, self.widths = name, n, tuple(widths)
        self.weight = nn.Parameter(_own(weight))
        self.bias = nn.Parameter(_own(bias)) if bias is not None else None
        self.shape, self.fold = tuple(weight.shape), fold
        self.learned = clip == "learned"
        start = self._largest()
        if self.learned:
            self.clip = nn.Parameter(start)
        else:
            self.register_buffer("clip", start)
        self.register_buffer("correction", torch.zeros(len(self.widths), weight.shape[0], dtype=torch.float32))
        self.register_buffer("gain", torch.ones(len(self.widths), weight.shape[0], dtype=torch.float32))
        self.reading = plain_reading(self.widths)
        self.register_buffer("reading_as", self.reading.tensor())
        for b in range(self.widths[0], n + 1):  # with an exponent, a width has the midpoints of a higher one
            h = fold.midpoints(n, b, self.shape).float()
            self.register_buffer(f"midpoint_{b}", h, persistent=False)
        self.gradient_scale = 1.0 / math.sqrt(weight[0].numel() * ((1 << (n - 1)) - 1))

    def _largest(self) -> Tensor:
        return self.weight.detach().flatten(1).abs().amax(1).clamp_min(TINY)

    @torch.no_grad()
    def read_as(self, reading: Reading) -> None:
        """Set how the widths read weights and activations."""
        self.reading = reading
        self.reading_as.copy_(reading.tensor())

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *rest: Any) -> None:
        """As the first edition read, from a state dict of it, which says nothing of that."""
        if f"{prefix}correction" in state:
            state.setdefault(f"{prefix}gain", torch.ones_like(self.gain))
            state.setdefault(f"{prefix}reading_as", plain_reading(self.widths).tensor())
        super()._load_from_state_dict(state, prefix, *rest)
        self.reading = reading_of(self.reading_as)

    def scale(self) -> Tensor:
        """The real scale of one master code, ``[out]`` float32 > 0, with the clip's gradient."""
        if self.learned:
            clip = fake.scale_gradient(self.clip, self.gradient_scale)
        else:
            clip = self._largest()
        return clip.clamp_min(TINY) / (((1 << self.n) - 1) / 2)

    def codes(self) -> Tensor:
        """Master codes, int8 ``[out, in, ...]``."""
        with torch.no_grad():
            return fake.weight_codes(self.weight, self.scale(), self.n).to(torch.int8)

    def narrowed(self, b: int) -> Tensor:
        """``T_b`` of the weight, integers in float32, differentiable."""
        return self.narrowed_by(self.scale(), b, self.reading.nearest, self.weight_exponent(b))

    def narrowed_by(self, scale: Tensor, b: int, nearest: bool, e: int) -> Tensor:
        """:meth:`narrowed` with another scale ``[out]``, rule and exponent."""
        h = getattr(self, f"midpoint_{b + e}")
        return fake.narrow_weight(self.weight, scale, self.n, b, h, e, nearest=nearest)

    def weight_exponent(self, b: int) -> int:
        """The exponent with which width ``b`` reads the weights."""
        return self.reading.weights[self.widths.index(b)]

    def input_exponent(self, b: int) -> int:
        """The exponent with which width ``b`` reads the activations."""
        return self.reading.inputs[self.widths.index(b)]

    def offset(self, b: int) -> Tensor:
        """Bias and correction at the width that indexes the tables (the smaller of the two widths), ``[out]``."""
        correction = self.correction[self.widths.index(b)]
        return correction if self.bias is None else self.bias + correction

    def gain_at(self, b: int) -> Tensor:
        """What the product is multiplied by at the width that indexes the tables, ``[out]``."""
        return self.gain[self.widths.index(b)]

    def gain_and_bias(self, norm: Norm | Scale | None, b: int) -> tuple[Tensor, Tensor]:
        """The affine map from the layer's real product to its result in evaluation, float64 ``[out]`` each."""
        offset, own = self.offset(b).double(), self.gain_at(b).double()
        if norm is None:
            return own, offset
        gain, bias = norm.gain_and_bias(b)
        return gain * own, bias + offset * gain

    def forward(self, x: Tensor, *, product: Callable[[Tensor], Tensor]) -> Tensor:
        """``product(x)``: what the network computes here, as a call of the module, for its hooks.

        Args:
            x: real values as the layer reads them, at the width of its activations.
        """
        return product(x)

    def apply_weight(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The layer's product on any tensors of its shapes: real values when training, integers when exact."""
        raise TypeError(f"{type(self).__name__} has no product")


class Conv(WidthLayer):
    """1-d or 2-d convolution. ``padding``: (top, bottom, left, right), or (left, right) in one dimension."""

    def __init__(
        self, name: str, weight: Tensor, bias: Tensor | None, n: int, widths: Sequence[int], clip: WeightClip,
        *, stride: tuple[int, ...], padding: tuple[int, ...], dilation: tuple[int, ...], groups: int,
    ) -> None:  # fmt: skip
        super().__init__(name, weight, bias, n, widths, clip)
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups
        self.symmetric = padding[0::2] == padding[1::2]

    def apply_weight(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Convolution; padding adds zeros."""
        padding = self.padding[0::2]
        if not self.symmetric:
            x = F.pad(x, (*self.padding[2:], *self.padding[:2]))
            padding = (0,) * len(padding)
        run = F.conv2d if len(self.stride) == 2 else F.conv1d
        return run(x, weight, bias, self.stride, padding, self.dilation, self.groups)


class Frames(Conv):
    """A convolution of ``k`` images a sample, ``[N, C, k, H, W]``."""

    def apply_weight(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Convolution of each image."""
        images = x.transpose(1, 2)
        y = super().apply_weight(images.flatten(0, 1), weight, bias)
        return y.reshape(*images.shape[:2], *y.shape[1:]).transpose(1, 2)


class Conv3d(WidthLayer):
    """3-d convolution, of one clip a sample or of several, ``[N, C, k, D, H, W]``.

    ``padding``: (front, back, top, bottom, left, right).
    """

    def __init__(
        self, name: str, weight: Tensor, bias: Tensor | None, n: int, widths: Sequence[int], clip: WeightClip,
        *, stride: tuple[int, ...], padding: tuple[int, ...], dilation: tuple[int, ...], groups: int,
    ) -> None:  # fmt: skip
        super().__init__(name, weight, bias, n, widths, clip, Deep())
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups

    def apply_weight(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Convolution; padding adds zeros."""
        if x.dim() > 5:
            clips = x.transpose(1, 2)
            y = self.apply_weight(clips.flatten(0, 1), weight, bias)
            return y.reshape(*clips.shape[:2], *y.shape[1:]).transpose(1, 2)
        front, back, top, bottom, left, right = self.padding
        padding = (front, top, left)
        if padding != (back, bottom, right):
            x, padding = F.pad(x, (left, right, top, bottom, front, back)), (0, 0, 0)
        return F.conv3d(x, weight, bias, self.stride, padding, self.dilation, self.groups)


class ConvTranspose(WidthLayer):
    """1-d or 2-d transposed convolution. Its weight is ``[out, in / groups, ...]``, as a convolution's."""

    def __init__(
        self, name: str, weight: Tensor, bias: Tensor | None, n: int, widths: Sequence[int], clip: WeightClip,
        *, stride: tuple[int, ...], padding: tuple[int, ...], output_padding: tuple[int, ...],
        dilation: tuple[int, ...], groups: int,
    ) -> None:  # fmt: skip
        super().__init__(name, weight, bias, n, widths, clip, fold_of(tuple(weight.shape[2:]), stride, dilation))
        self.stride, self.padding, self.output_padding = stride, padding, output_padding
        self.dilation, self.groups = dilation, groups

    def apply_weight(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Transposed convolution."""
        parts = weight.reshape(self.groups, -1, *weight.shape[1:]).transpose(1, 2)
        run = F.conv_transpose2d if len(self.stride) == 2 else F.conv_transpose1d
        given = (self.stride, self.padding, self.output_padding, self.groups, self.dilation)
        return run(x, parts.reshape(-1, *parts.shape[2:]), bias, *given)


def fold_of(kernel: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]) -> Phases | Flipped:
    """How the filters of a transposed convolution lie: by phases where these have as many taps each."""
    even = all(k % s == 0 and d == 1 for k, s, d in zip(kernel, stride, dilation, strict=True))
    return Phases(stride) if even else Flipped()


class Linear(WidthLayer):
    """Matrix product over the last dimension."""

    def apply_weight(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Matrix product."""
        return F.linear(x, weight, bias)


LAYERS: Mapping[str, Callable[..., WidthLayer]] = {
    "conv": Conv,
    "conv3d": Conv3d,
    "conv_transpose": ConvTranspose,
    "frames": Frames,
    "linear": Linear,
}
"""Kind of a node -> its layer."""


class NormSet(nn.Module):
    """Affine and running statistics of one width, named as torch's batch norm names them."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, weight: Tensor | None, bias: Tensor | None, mean: Tensor, var: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones_like(mean, dtype=torch.float32) if weight is None else _own(weight))
        self.bias = nn.Parameter(torch.zeros_like(mean, dtype=torch.float32) if bias is None else _own(bias))
        self.register_buffer("running_mean", _own(mean))
        self.register_buffer("running_var", _own(var))


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
