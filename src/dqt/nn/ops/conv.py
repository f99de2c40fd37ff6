"""Convolution in one and two dimensions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from torch import fx

from dqt.nn import integers
from dqt.nn.emission import two
from dqt.nn.graph import Node
from dqt.nn.layered import add_layer, fake_layer
from dqt.nn.moves import reshaped, transposed
from dqt.nn.operator import Operator
from dqt.nn.window import geometry, padded
from dqt.program.ops.conv import Conv

if TYPE_CHECKING:
    from dqt.nn.capture import Builder
    from dqt.nn.emission import Emission


def _conv(b: Builder, call: fx.Node) -> str:
    weight = b.tensor(call, call.args[1])[1]
    dims = weight.dim() - 2
    stride = geometry(b.arg(call, 3, "stride", 1), dims)
    dilation = geometry(b.arg(call, 5, "dilation", 1), dims)
    padding = padded(b.arg(call, 4, "padding", 0), tuple(weight.shape[2:]), dilation)
    groups = int(b.arg(call, 6, "groups", 1))
    attrs = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    b.operand(call, call.args[0])
    placed = b.placements.of(call.args[0])  # type: ignore[arg-type]
    if placed.dim == 0 and placed.extra:
        b.placements.put(call, placed)
        return over_frames(b, call, "frames", attrs)
    return add_layer(b, call, "conv", b.value(call, call.args[0]), attrs)


def over_frames(b: Builder, call: fx.Node, kind: str, attrs: dict[str, Any]) -> str:
    """Append the convolution of several images a sample: a value ``[N, k, C, H, W]`` has its channels first for it."""
    x, dims = b.operand(call, call.args[0]), len(attrs["stride"])
    before, after, space = b.captured.shapes[x], b.shape(call), slice(-dims, None)
    frames, channels, order = math.prod(after[: -dims - 1]), -dims - 1, (1, 0, *range(2, 2 + dims))
    x = transposed(b, call, reshaped(b, call, x, (frames, before[channels], *before[space])), order)
    out = add_layer(b, call, kind, x, attrs, shape=(after[channels], frames, *after[space]))
    return reshaped(b, call, transposed(b, call, out, order), after)


def _emit(e: Emission, node: Node) -> None:
    a, k = node.attrs, integers.layer_integers(e.net, node)
    x, out, flatten = e.image(node, k.out)
    padding = a["padding"] if len(a["padding"]) == 4 else (0, 0, *a["padding"])
    append_conv(e, node, k, (x, out), two(a["stride"], 1), padding, two(a["dilation"], 1))
    flatten()


def append_conv(
    e: Emission, node: Node, k: integers.LayerIntegers, names: tuple[str, str],
    stride: tuple[int, int], padding: tuple[int, int, int, int], dilation: tuple[int, int],
) -> None:  # fmt: skip
    """Append the instruction of a convolution that reads and defines the values ``names``."""
    weight = k.weight if k.weight.ndim == 4 else k.weight[:, :, None, :]
    (x, out), groups = names, node.attrs["groups"]
    constants = (weight, k.m, k.c, k.shift, k.out.lo, k.out.hi)
    e.append(Conv(node.layer, x, out, *constants, stride, padding, dilation, groups, **k.fields))


OPERATOR = Operator(
    kind="conv",
    fake=fake_layer,
    emit=_emit,
    aten=dict.fromkeys(
        ("aten.conv1d.default", "aten.conv2d.default", "aten.conv1d.padding", "aten.conv2d.padding"), _conv
    ),
    own_quantizer=True,
)
