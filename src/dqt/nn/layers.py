"""The layers that carry a width."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dqt.arith.plan import Pair
from dqt.nn import fake
from dqt.nn.folds import Deep, Flipped, Fold, Phases
from dqt.nn.norms import Norm, own
from dqt.nn.reading import Reading, plain_reading, reading_of
from dqt.nn.scales import Scale
from dqt.program.layered import row_pairs

TINY = 1e-12
WeightClip = Literal["learned", "statistic"]
LAYER_ITSELF = Fold()


class WidthLayer(nn.Module):
    """A weight ``[out, in, ...]`` that is read at any width: its clip, its midpoints, its bias and corrections.

    Attributes:
        clip: ``[out]``, per output channel; ``scale = clip / ((2^n - 1) / 2)``.
        correction, gain: ``[widths, out]``: at each width the layer's product is multiplied by ``gain``, then
            ``correction`` is added (what calibration finds; in the program both are parts of the constants by width).
        unlike_correction, unlike_gain: ``[2 (widths - 1), out]``: where weights and activations have unlike widths,
            what is added to the correction of the smaller one, and multiplies its gain; rows as in
            :func:`dqt.program.layered.row_pairs`.
        reading: how the widths read weights and activations; the state dict holds it.
        fold: how the filters lie in the program.
    """

    clip: Tensor
    correction: Tensor
    gain: Tensor
    unlike_correction: Tensor
    unlike_gain: Tensor
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
        self.weight = nn.Parameter(own(weight))
        self.bias = nn.Parameter(own(bias)) if bias is not None else None
        self.shape, self.fold = tuple(weight.shape), fold
        self.learned = clip == "learned"
        start = self._largest()
        if self.learned:
            self.clip = nn.Parameter(start)
        else:
            self.register_buffer("clip", start)
        self.register_buffer("correction", torch.zeros(len(self.widths), weight.shape[0], dtype=torch.float32))
        self.register_buffer("gain", torch.ones(len(self.widths), weight.shape[0], dtype=torch.float32))
        others = 2 * len(self.widths) - 2, weight.shape[0]
        self.register_buffer("unlike_correction", torch.zeros(others, dtype=torch.float32))
        self.register_buffer("unlike_gain", torch.ones(others, dtype=torch.float32))
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

    @torch.no_grad()
    def uncorrected(self) -> None:
        """Take every correction away."""
        for offset, factor in ((self.correction, self.gain), (self.unlike_correction, self.unlike_gain)):
            offset.zero_()
            factor.fill_(1.0)

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *rest: Any) -> None:
        """As earlier editions computed, from a state dict of theirs, which does not say all."""
        if f"{prefix}correction" in state:
            state.setdefault(f"{prefix}unlike_correction", torch.zeros_like(self.unlike_correction))
            state.setdefault(f"{prefix}unlike_gain", torch.ones_like(self.unlike_gain))
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

    def unlike(self, pair: Pair) -> int:
        """The row of ``unlike_correction`` and ``unlike_gain`` of unlike widths of weights and activations."""
        return self.widths.index(min(pair)) + (0 if pair[0] < pair[1] else len(self.widths) - 1)

    def offset(self, pair: Pair) -> Tensor:
        """Bias and correction at the widths of weights and activations, ``[out]``."""
        correction = self.correction[self.widths.index(min(pair))]
        if pair[0] != pair[1]:
            correction = correction + self.unlike_correction[self.unlike(pair)]
        return correction if self.bias is None else self.bias + correction

    def gain_at(self, pair: Pair) -> Tensor:
        """What the product is multiplied by at the widths of weights and activations, ``[out]``."""
        gain = self.gain[self.widths.index(min(pair))]
        return gain if pair[0] == pair[1] else gain * self.unlike_gain[self.unlike(pair)]

    def gain_and_bias(self, norm: Norm | Scale | None, pair: Pair) -> tuple[Tensor, Tensor]:
        """The affine map from the layer's real product to its result in evaluation, float64 ``[out]`` each."""
        offset, own = self.offset(pair).double(), self.gain_at(pair).double()
        if norm is None:
            return own, offset
        gain, bias = norm.gain_and_bias(min(pair))
        return gain * own, bias + offset * gain

    def gains(self, norm: Norm | Scale | None) -> Tensor:
        """The factors of :meth:`gain_and_bias` of all pairs of widths, ``[pairs, out]``."""
        rows = torch.stack([self.gain_and_bias(norm, (b, b))[0] for b in self.widths])
        return torch.cat((rows, rows[:-1].repeat(2, 1) * self.unlike_gain))

    @property
    def corrected_pairs(self) -> tuple[Pair, ...]:
        """The pairs of widths that have constants of their own."""
        plain = not bool(self.unlike_correction.any()) and bool((self.unlike_gain == 1).all())
        return tuple((b, b) for b in self.widths) if plain else row_pairs(self.widths)

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
