"""Images in other sizes, by linear interpolation in one to three dimensions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx

from dqt.arith.resize import WEIGHT_BITS, neighbours
from dqt.nn.graph import Node
from dqt.nn.moves import images, reshaped
from dqt.nn.operator import Operator
from dqt.nn.ranges import Signal
from dqt.nn.run import Run
from dqt.program.ops.resize import Resize

if TYPE_CHECKING:
    from dqt.nn.capture import Builder
    from dqt.nn.emission import Emission
    from dqt.nn.net import Net

Step = tuple[int, int]
MOST = 1 << 16
"""The largest numerator or denominator of a scale factor."""


def _linear(b: Builder, call: fx.Node) -> str:
    """In three dimensions over height and width, then over depth, each with a rounding of its own."""
    (x, (_, *size)), corners = images(b, call), bool(b.arg(call, 2, "align_corners"))
    channels, *sides = b.captured.shapes[x]
    outputs = tuple(size)
    factors: Sequence[float | None] = b.arg(call, 3, "scale_factors") or [None] * len(sides)
    steps = [(0, 0) if factor is None else _step(factor) for factor in factors]
    *ahead, width = sides
    height, depth = (ahead or [1])[-1], (ahead[:-1] or [1])[-1]
    steps, outputs = [(0, 0)] * (3 - len(sides)) + steps, (1,) * (3 - len(sides)) + outputs
    x = reshaped(b, call, x, (channels * depth, height, width))
    x = _resized(b, call, x, outputs[1:], steps[1:], corners=corners)
    if len(sides) == 3:
        x = reshaped(b, call, x, (channels, depth, outputs[1] * outputs[2]))
        x = _resized(b, call, x, (outputs[0], outputs[1] * outputs[2]), [steps[0], (0, 0)], corners=corners)
    return reshaped(b, call, x, b.shape(call))


def _step(factor: float) -> Step:
    """How far an output is from the next, in inputs: a ratio of whole numbers."""
    near = Fraction(factor).limit_denominator(MOST)
    return near.denominator, near.numerator


def _resized(b: Builder, call: fx.Node, x: str, size: tuple[int, ...], steps: Sequence[Step], *, corners: bool) -> str:
    channels, *sides = b.captured.shapes[x]
    if tuple(sides) == size and all(step in ((0, 0), (1, 1)) for step in steps):
        return x
    attrs = {"size": size, "steps": (*steps[0], *steps[1]), "corners": corners}
    return b.add(call, "resize", [x], quantizer="same", shape=(channels, *size), attrs=attrs)


def _fake(net: Net, node: Node, ins: Sequence[Signal], run: Run) -> Signal:
    """What a program gives, rounded as there, with the gradient of torch's interpolation."""
    (x,), a = ins, node.attrs
    factors = [above and below / above for above, below in (a["steps"][:2], a["steps"][2:])]
    scales = [factor or None for factor in factors]
    sides = zip(a["size"], x.master.shape[2:], a["steps"][::2], a["steps"][1::2], strict=True)
    size = [fixed or side * below // above for fixed, side, above, below in sides]  # 0: of a named dimension
    y = torch.ops.aten.upsample_bilinear2d(x.master, size, a["corners"], *scales)
    if not run.quantized or x.quantizer is None:
        return x.like(y)
    with torch.no_grad():
        codes = _interpolated(x.codes(x.quantizer.n).double(), size, a)
        served = (codes + 0.5).floor() * x.scale
    return x.like(y + (served - y).detach().to(y.dtype))


def _interpolated(x: Tensor, size: Sequence[int], attrs: Mapping[str, Any]) -> Tensor:
    """Between rows, then between columns, with the weights of a program."""
    for axis in (2, 3):
        step = attrs["steps"][2 * axis - 4 : 2 * axis - 2]
        parts = neighbours(x.shape[axis], size[axis - 2], step, corners=attrs["corners"])
        first, second, weight = (torch.from_numpy(part).to(x.device) for part in parts)
        part = (weight.to(x.dtype) / (1 << WEIGHT_BITS)).reshape(-1, *(1,) * (3 - axis))
        start = x.index_select(axis, first)
        x = start + (x.index_select(axis, second) - start) * part
    return x


def _emit(e: Emission, node: Node) -> None:
    a = node.attrs
    e.append(Resize(*e.moved(node), a["size"], a["steps"], a["corners"]))


OPERATOR = Operator(
    kind="resize",
    fake=_fake,
    emit=_emit,
    aten=dict.fromkeys(
        ("aten.upsample_linear1d.vec", "aten.upsample_bilinear2d.vec", "aten.upsample_trilinear3d.vec"), _linear
    ),
    moves=True,
)
