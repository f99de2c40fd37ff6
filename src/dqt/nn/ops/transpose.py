"""Another order of dimensions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import fx

from dqt.nn.graph import Node
from dqt.nn.moves import reshaped, transposed
from dqt.nn.operator import Operator
from dqt.nn.ranges import Signal
from dqt.nn.run import Run
from dqt.program.ops.transpose import Transpose

if TYPE_CHECKING:
    from dqt.nn.capture import Builder
    from dqt.nn.emission import Emission
    from dqt.nn.net import Net


def _transpose(b: Builder, call: fx.Node) -> str:
    """Where only the batch moves, no element does: the value has it first in any case."""
    x, old = b.operand(call, call.args[0]), call.args[0]
    assert isinstance(old, fx.Node)
    placed, axes = b.placements.of(old).permuted(_order(call, old.meta["val"].dim()))
    b.placements.put(call, placed)
    if axes == tuple(sorted(axes)):
        return x
    return b.add(call, "transpose", [x], quantizer="same", attrs={"axes": axes})


def _pixel_shuffle(b: Builder, call: fx.Node) -> str:
    """``(C * f * f, H, W)`` to ``(C, H * f, W * f)``."""
    f, x = int(b.arg(call, 1, "upscale_factor")), b.value(call, call.args[0])
    channels, height, width = _image(b, call)
    parts = reshaped(b, call, x, (channels // (f * f), f, f, height, width))
    return reshaped(b, call, transposed(b, call, parts, (0, 3, 1, 4, 2)), b.shape(call))


def _pixel_unshuffle(b: Builder, call: fx.Node) -> str:
    """``(C, H * f, W * f)`` to ``(C * f * f, H, W)``."""
    f, x = int(b.arg(call, 1, "downscale_factor")), b.value(call, call.args[0])
    channels, height, width = _image(b, call)
    parts = reshaped(b, call, x, (channels, height // f, f, width // f, f))
    return reshaped(b, call, transposed(b, call, parts, (0, 2, 4, 1, 3)), b.shape(call))


def _channel_shuffle(b: Builder, call: fx.Node) -> str:
    """Groups of channels, dealt out in turn."""
    groups, x = int(b.arg(call, 1, "groups")), b.value(call, call.args[0])
    channels, *rest = b.captured.shapes[x]
    parts = reshaped(b, call, x, (groups, channels // groups, math.prod(rest)))
    return reshaped(b, call, transposed(b, call, parts, (1, 0, 2)), b.shape(call))


def _image(b: Builder, call: fx.Node) -> tuple[int, int, int]:
    shape = b.captured.shapes[b.value(call, call.args[0])]
    if len(shape) != 3:
        raise b.unsupported(call, f"takes a value of shape {('N', *shape)}, need (N, C, H, W)")
    channels, height, width = shape
    return channels, height, width


def _order(call: fx.Node, dims: int) -> list[int]:
    """Which dimension stands where after the operator. The strides of a tensor of nothing say it for all its forms."""
    before = torch.empty((2,) * dims, device="meta")
    after = call.target(before, *call.args[1:], **call.kwargs)  # type: ignore[operator]
    return [before.stride().index(stride) for stride in after.stride()]


def _fake(net: Net, node: Node, ins: Sequence[Signal], run: Run) -> Signal:
    return ins[0].like(ins[0].raw.permute(0, *(axis + 1 for axis in node.attrs["axes"])))


def _emit(e: Emission, node: Node) -> None:
    e.append(Transpose(*e.moved(node), node.attrs["axes"]))


NAMES = (
    "aten.permute.default",
    "aten.transpose.int",
    "aten.swapaxes.default",
    "aten.swapdims.default",
    "aten.movedim.int",
    "aten.movedim.intlist",
    "aten.moveaxis.int",
    "aten.moveaxis.intlist",
    "aten.mT.default",
)
OPERATOR = Operator(
    kind="transpose",
    fake=_fake,
    emit=_emit,
    aten={
        **dict.fromkeys(NAMES, _transpose),
        "aten.pixel_shuffle.default": _pixel_shuffle,
        "aten.pixel_unshuffle.default": _pixel_unshuffle,
        "aten.channel_shuffle.default": _channel_shuffle,
    },
    moves=True,
    selects=True,
    shares_memory=frozenset(NAMES),
)
