"""From trained real parameters to the integers of the program: the one place where scales become constants.

Everything is computed in float64 from the float32 parameters, once, and read both by the exact forward pass and by
``dqt.lower``. Batch norm goes into ``m`` and ``c``, never into the weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dqt.arith import fixed
from dqt.arith.bounds import WIDE_LIMIT, Bound
from dqt.arith.ratio import code_constants
from dqt.nn import fake
from dqt.nn.graph import Node
from dqt.nn.layers import WidthLayer
from dqt.nn.ranges import Quantizer
from dqt.nn.reading import Reading
from dqt.program.layered import layer_bound

if TYPE_CHECKING:
    from dqt.nn.net import Net

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Codes:
    """How codes stand for reals: ``scale * (q - zero)``, ``q`` in ``[lo, hi]``."""

    scale: float
    zero: int
    lo: int
    hi: int


@dataclass(frozen=True, eq=False)
class LayerIntegers:
    """A layer in integers: int8 ``weight``, ``m`` int32 and ``c`` int64 ``[rows, out]``; see ``ops.Conv``.

    ``magnitude`` is the largest ``|acc|`` over every width; ``zero`` the input's zero point.
    """

    weight: npt.NDArray[np.int8]
    m: npt.NDArray[np.int32]
    c: npt.NDArray[np.int64]
    shift: int
    out: Codes
    zero: int
    magnitude: int
    widths: tuple[int, ...]
    reading: Reading

    @property
    def fields(self) -> dict[str, Any]:
        """What an instruction says of the reading; no exponents are 0 for all."""
        weights, inputs = (e if any(e) else () for e in (self.reading.weights, self.reading.inputs))
        return {"nearest": self.reading.nearest, "weight_exponents": weights, "input_exponents": inputs}


@dataclass(frozen=True, eq=False)
class RescaleIntegers:
    """``clamp((m*q + c) >> shift, lo, hi)``, per channel or for all; see ``ops.Rescale``."""

    m: npt.NDArray[np.int32]
    c: npt.NDArray[np.int64]
    shift: int
    lo: int
    hi: int


def quantizer_codes(quantizer: Quantizer) -> Codes:
    """The codes of a quantizer; its scale is the float32 one, exactly."""
    with torch.no_grad():
        scale = float(quantizer.scale())
    return Codes(scale, quantizer.zero, 0, (1 << quantizer.n) - 1)


def _double(x: Tensor) -> Floats:
    return x.detach().cpu().double().numpy()


def accumulator_bounds(layer: WidthLayer, weight: npt.NDArray[np.int8], zero: int) -> list[Bound]:
    """The bound of the accumulator at each weight width, over every input (docs/numerics.md, equation 14).

    ``weight``: master codes as the program has them.   ``zero``: of the input.
    """
    nearest = layer.reading.nearest
    return [
        layer_bound(weight, layer.n, b, zero, nearest=nearest, e=e)
        for b, e in zip(layer.widths, layer.reading.weights, strict=True)
    ]


def layer_integers(net: Net, node: Node) -> LayerIntegers:
    """Constants of a convolution or linear layer at every width.

    Raises:
        ValueError: a constant does not fit.
    """
    layer, source = net.layer(node.layer), net.codes(node.ins[0])
    weight = layer.fold.filters(layer.codes()).contiguous().cpu().numpy()
    bounds = accumulator_bounds(layer, weight, source.zero)
    unit = _double(layer.scale()) * source.scale
    affine = [layer.gain_and_bias(net.affine(node.norm), pair) for pair in layer.corrected_pairs]
    gain, bias = (np.stack([_double(part) for part in parts]) for parts in zip(*affine, strict=True))
    copies = len(weight) // len(unit)  # filters of each output channel
    unit, gain, bias = (np.repeat(part, copies, axis=-1) for part in (unit, gain, bias))
    quantizer = net.quantizer(node)
    out = quantizer_codes(quantizer) if quantizer is not None else finest(_largest(bounds, unit * gain, bias), node)
    scale = gain * unit / out.scale
    shift = fixed.choose_shift(scale)
    m, c = rounding(scale, bias / out.scale, shift, out, coded=quantizer is not None)
    if (m == m[0]).all() and (c == c[0]).all():
        m, c = m[:1], c[:1]
    magnitude = max(bound.magnitude for bound in bounds)
    return LayerIntegers(weight, m, c, shift, out, source.zero, magnitude, layer.widths, layer.reading)


def rounding(
    scale: Floats, bias: Floats, shift: int, out: Codes, *, coded: bool
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """``m`` and ``c`` of accumulators: of codes such as float32 rounds alike, of wide results the nearest.

    Args:
        scale, bias: of one shape, in steps of ``out``.
    """
    if coded:
        return code_constants(scale, bias, shift, out.zero, out.lo, out.hi)
    return fixed.multiplier(scale, shift), fixed.offset(bias, out.zero, shift)


def as_lowered(scale: Tensor, bias: Tensor, largest: Tensor, quantizer: Quantizer) -> tuple[Tensor, Tensor]:
    """What the program's ``m`` and ``c`` make of real scale and bias, with the gradients of these.

    Args:
        scale, bias: float64 ``[out]``, from accumulators to reals.
        largest: the largest magnitude of a scale at any widths, which decides the shift.
        quantizer: where the results go.
    """
    step, out = quantizer.scale().detach().double(), quantizer_codes(quantizer)
    shift = fixed.choose_shift(float(largest.detach() / step))
    real, offset = ((part.detach() / step).cpu().numpy() for part in (scale, bias))
    m, c = rounding(real, offset, shift, out, coded=True)
    units = (m, c - ((1 << shift) >> 1) - (out.zero << shift))
    exact = (torch.from_numpy(part * 2.0**-shift).to(step.device) * step for part in units)
    first, second = (fake.straight_through(*pair) for pair in zip((scale, bias), exact, strict=True))
    return first, second


def _largest(bounds: list[Bound], scale: Floats, bias: Floats) -> float:
    """The largest magnitude that a layer can give, in reals."""
    magnitude = np.max([np.maximum(-b.lo, b.hi) for b in bounds], axis=0)
    return float(np.max(np.abs(scale) * magnitude + np.abs(bias)))


def finest(largest: float, node: Node) -> Codes:
    """The finest scale at which no result of ``node`` leaves 24 bits, which float32 holds: int32 outputs.

    Args:
        largest: the largest magnitude that the results can have, in reals. A fused ReLU clamps them.
    """
    scale = float(np.nextafter(np.float32(max(largest, 1e-20) / (WIDE_LIMIT - 2)), np.float32(np.inf)))
    if not node.clamps:
        return Codes(scale, 0, -WIDE_LIMIT, WIDE_LIMIT)
    return Codes(scale, 0, 0, max(256, round(min(node.cap / scale, WIDE_LIMIT))))


def rescale(source: Codes, out: Codes, gain: Floats, bias: Floats) -> RescaleIntegers:
    """Constants of ``gain * x + bias`` from one quantizer's codes to another's; both are ``[C]`` or ``[1]``."""
    scale = gain * source.scale / out.scale
    shift = fixed.choose_shift(scale)
    m = fixed.multiplier(scale, shift)
    c = fixed.offset(bias / out.scale, out.zero, shift) - m.astype(np.int64) * source.zero
    return RescaleIntegers(m, c, shift, out.lo, out.hi)
