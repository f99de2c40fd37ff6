"""Every operator of the table, by its own call: captured as the float model has it, and served as it is computed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from operator import getitem
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dqt.lower.emit import lower
from dqt.nn.export import Exported, export
from dqt.nn.operator import handlers
from dqt.nn.run import Run
from dqt.testing.networks import ready
from tests.parity.build import train_step

Call = Callable[[Any, "Around", Tensor], Tensor]


class Around(nn.Module):
    """A layer, the operator, a layer that adapts to its shape; ``w`` and ``b`` for operators with weights."""

    def __init__(self, target: str, call: Call, dims: int) -> None:
        super().__init__()
        layer = nn.Conv2d if dims == 2 else nn.Conv1d
        self.before, self.other, self.after = layer(3, 4, 3, padding=1), layer(3, 4, 1), nn.LazyLinear(3)
        self.w = nn.Parameter(torch.randn(4, 2, *(3,) * dims) / 4)
        self.b = nn.Parameter(torch.randn(4))
        self.mix = nn.Parameter(torch.randn(6, 8 if dims == 2 else 9))
        self.mean, self.var = nn.Buffer(torch.randn(4)), nn.Buffer(torch.rand(4) + 0.5)
        self.token = nn.Parameter(torch.linspace(-1, 1, 36).view(1, 4, 9, 1))
        self.wide = nn.Buffer(torch.zeros(1, dtype=torch.float64))
        self.call = call
        if target.startswith("aten."):
            _, name, overload = target.split(".")
            self.operator = getattr(getattr(torch.ops.aten, name), overload)
        else:
            self.operator = getitem

    def forward(self, x: Tensor) -> Tensor:
        y = self.call(self.operator, self, x)
        result: Tensor = self.after(y.flatten(1).float())
        return result


def alone(*args: Any) -> Call:
    """The operator on the first layer's result."""
    return lambda op, m, x: op(m.before(x), *args)


def upward(*args: Any) -> Call:
    """The operator on numbers above 1."""
    return lambda op, m, x: op(m.before(x).square() + 1, *args)


def less() -> Call:
    """The operator on numbers near 0."""
    return lambda op, m, x: op(m.before(x) / 4)


def item(index: int, *args: Any) -> Call:
    """One of the operator's results."""
    return lambda op, m, x: op(m.before(x), *args)[index]


def two(op: Any, m: Around, x: Tensor) -> Tensor:
    result: Tensor = op(m.before(x), m.other(x))
    return result


def changed(*args: Any) -> Call:
    """The operator on a part of the first layer's result, in place."""

    def call(op: Any, m: Around, x: Tensor) -> Tensor:
        y = m.before(x)
        op(y[:, 1:3, ::2], *args)
        return y

    return call


def joining(op: Any, m: Around, x: Tensor) -> Tensor:
    result: Tensor = op([m.before(x), m.other(x)], -1)
    return result


def joined(number: tuple[float, ...], op: Any, m: Around, x: Tensor) -> Tensor:
    """Made by the operator from a shape, beside the first layer's result."""
    return torch.cat([m.before(x), op([x.shape[0], 1, *x.shape[2:]], *number)], 1)


def created(number: tuple[float, ...], op: Any, m: Around, x: Tensor) -> Tensor:
    """Made by the operator from a tensor and a shape."""
    return torch.cat([m.before(x), op(x, [x.shape[0], 1, *x.shape[2:]], *number)], 1)


def beside(*number: float) -> Call:
    """Made by the operator as large as the first layer's result, beside that."""
    return lambda op, m, x: torch.cat([m.before(x), op(m.other(x), *number)], 2)


def solid(x: Tensor) -> Tensor:
    """An image as one of three dimensions of space."""
    return x.reshape(-1, 2, 2, *x.shape[2:])


def both(name: str, call: Call) -> dict[str, Call]:
    return {f"aten.{name}": call, f"aten.{name.replace('.', '_.', 1)}": call}


CASES: dict[str, Call] = {
    "aten.conv1d.default": lambda op, m, x: op(m.before(x), m.w, m.b, [2], [1], [1], 2),
    "aten.conv2d.default": lambda op, m, x: op(m.before(x), m.w, m.b, [1, 2], [0, 1], [2, 1], 2),
    "aten.conv1d.padding": lambda op, m, x: op(m.before(x), m.w, None, [1], "same", [2], 2),
    "aten.conv2d.padding": lambda op, m, x: op(m.before(x), m.w, None, [2, 2], "valid", [1, 1], 2),
    "aten.conv3d.default": lambda op, m, x: op(solid(m.before(x)), torch.stack([m.w, m.w.flip(0)], 2), m.b, [1, 2, 1]),
    "aten.conv3d.padding": lambda op, m, x: op(solid(m.before(x)), m.w.unsqueeze(2), None, [1, 1, 1], "same"),
    "aten.conv_transpose1d.default": lambda op, m, x: op(m.before(x), m.w, m.b[:2], [3], [1], [1]),
    "aten.conv_transpose2d.input": lambda op, m, x: op(m.before(x), m.w, None, [2, 1], [1, 2], [1, 0], 2, [1, 2]),
    "aten.linear.default": lambda op, m, x: op(m.before(x), m.mix),
    "aten.matmul.default": lambda op, m, x: op(op(m.b.view(1, 4), m.before(x).flatten(2)), torch.ones(72) / 72),
    "aten.mm.default": lambda op, m, x: op(m.before(x)[:, 1, :8, 2], m.mix.t()),
    "aten.addmm.default": lambda op, m, x: op(m.b.repeat(2)[:6], m.before(x)[:, 1, :8, 2], m.mix.t()),
    "aten.einsum.default": lambda op, m, x: op("n...c,kc->n...k", [op("nchw->nhwc", [m.before(x)]), m.mix[:, :4]]),
    "aten.bmm.default": lambda op, m, x: op(m.before(x).flatten(2), m.other(x).flatten(2).transpose(1, 2)),
    "aten.scaled_dot_product_attention.default": lambda op, m, x: op(
        m.before(x), m.other(x), m.before(x), None, 0.0, True
    ),
    "aten.softmax.int": alone(1),
    "aten.layer_norm.default": lambda op, m, x: op(m.before(x), [8], m.mix[0], None),
    "aten.rms_norm.default": lambda op, m, x: op(m.before(x), [8], m.mix[0], 1e-5),
    "aten.group_norm.default": lambda op, m, x: op(m.before(x), 2, m.b, None, 1e-3),
    "aten.instance_norm.default": lambda op, m, x: op(m.before(x), m.b, None, None, None, True, 0.1, 1e-5, False),
    "aten.batch_norm.default": lambda op, m, x: op(m.before(x), None, m.b, m.mean, m.var, False, 0.1, 1e-5, False),
    **both("relu.default", alone()),
    **both("relu6.default", alone()),
    **both("hardtanh.default", alone(-0.5, 0.25)),
    **both("hardswish.default", alone()),
    **both("hardsigmoid.default", alone()),
    **both("silu.default", alone()),
    "aten.gelu.default": lambda op, m, x: op(m.before(x), approximate="tanh"),
    "aten.gelu_.default": lambda op, m, x: op(m.before(x)),
    **both("sigmoid.default", alone()),
    **both("tanh.default", alone()),
    **both("leaky_relu.default", alone(0.3)),
    **both("elu.default", alone(0.7)),
    **both("selu.default", alone()),
    **both("celu.default", alone(0.7)),
    **both("mish.default", alone()),
    "aten.prelu.default": lambda op, m, x: op(m.before(x), m.b),
    "aten.softplus.default": alone(2.0, 15.0),
    "aten.log_sigmoid.default": alone(),
    "aten.hardshrink.default": alone(0.1),
    "aten.softshrink.default": alone(0.1),
    **both("threshold.default", alone(0.1, 0.0)),
    **both("abs.default", alone()),
    **both("square.default", alone()),
    **both("exp.default", alone()),
    **both("sin.default", alone()),
    **both("cos.default", alone()),
    **both("erf.default", alone()),
    **both("erfc.default", alone()),
    **both("sign.default", lambda op, m, x: op(m.before(x).clamp_min(-0.0)) + m.other(x)),
    **both("tan.default", less()),
    **both("atan.default", alone()),
    **both("sinh.default", less()),
    **both("cosh.default", alone()),
    **both("asinh.default", alone()),
    **both("expm1.default", less()),
    **both("exp2.default", alone()),
    **both("rrelu.default", alone()),
    **both("sqrt.default", upward()),
    **both("rsqrt.default", upward()),
    **both("log.default", upward()),
    **both("log2.default", upward()),
    **both("log10.default", upward()),
    **both("log1p.default", upward()),
    **both("reciprocal.default", upward()),
    "aten.pow.Tensor_Scalar": upward(-1.5),
    "aten.pow_.Scalar": alone(2),
    "aten.pow.Scalar": lambda op, m, x: op(0.5, m.before(x)),
    **both("clamp.default", alone(-0.5, 0.25)),
    **both("clamp_min.default", alone(-0.25)),
    **both("clamp_max.default", alone(0.25)),
    **both("add.Tensor", lambda op, m, x: op(m.before(x), m.other(x), alpha=-1.5)),
    **both("sub.Tensor", two),
    **both("mul.Tensor", two),
    "aten.rsub.Scalar": alone(0.75),
    "aten.rsub.Tensor": two,
    "aten.div.Tensor": lambda op, m, x: op(op(m.before(x), m.other(x).square() + 2), torch.linspace(1, 2, 9)[:, None]),
    "aten.div_.Tensor": alone(-0.75),
    **both("neg.default", alone()),
    "aten.amax.default": alone([-1, 1]),
    "aten.max.dim": item(0, 2, True),
    "aten.topk.default": item(0, 3, 1),  # along the channels, which are not the last dimension
    "aten.glu.default": alone(1),
    "aten.expand.default": lambda op, m, x: m.before(x) + op(m.token, [x.shape[0], -1, -1, -1]),
    "aten.expand_as.default": lambda op, m, x: 1.0 * op(m.other(x)[..., :1], torch.cat([x, x[:, :1]], 1)),
    **{
        f"aten.{name}.default": partial(joined, sizes)
        for name, sizes in {"zeros": (), "ones": (), "full": (0.3,)}.items()
    },
    **{f"aten.{name}.default": beside() for name in ("zeros_like", "ones_like")},
    "aten.full_like.default": beside(-0.3),
    **{f"aten.{name}.default": partial(created, sizes) for name, sizes in {"new_zeros": (), "new_ones": ()}.items()},
    "aten.new_full.default": partial(created, (0.3,)),
    **{f"aten.{name}.default": joining for name in ("cat", "concat", "concatenate", "stack")},
    "aten.copy_.default": lambda op, m, x: changed(m.other(x)[:, :1, ::2])(op, m, x),
    "aten.fill_.Scalar": changed(0.3),
    "aten.fill_.Tensor": changed(torch.tensor(-0.3)),
    "aten.zero_.default": changed(),
    "aten.max_pool3d.default": lambda op, m, x: op(solid(m.before(x)), 2, [1, 2, 3], [1, 1, 0], [1, 2, 1], True),
    "aten.adaptive_max_pool1d.default": item(0, [4]),
    "aten.adaptive_max_pool2d.default": item(0, [4, 8]),
    "aten.adaptive_max_pool3d.default": lambda op, m, x: op(solid(m.before(x)), [1, 4, 3])[0],
    "aten.max_pool1d.default": alone([3], [2], [1], [1], True),
    "aten.max_pool2d.default": alone([2, 3], [2, 2], [1, 1], [1, 1], True),
    "aten.maximum.default": two,
    "aten.max.other": lambda op, m, x: op(m.before(x), m.other(x)[:, :1, :, :1]),
    "aten.fmax.default": lambda op, m, x: op(m.before(x), torch.linspace(-1, 1, 9)[:, None]),
    "aten.minimum.default": two,
    "aten.min.other": lambda op, m, x: op(m.before(x), m.other(x)[:, :1, :, :1]),
    "aten.fmin.default": lambda op, m, x: op(m.before(x), torch.tensor(0.25)),
    "aten.amin.default": alone([-1, 1]),
    "aten.min.dim": item(0, 2, True),
    "aten.avg_pool3d.default": lambda op, m, x: op(solid(m.before(x)), [2, 3, 2], [1, 2, 2], [1, 1, 0], True, False),
    "aten.adaptive_avg_pool3d.default": lambda op, m, x: op(solid(m.before(x)), [1, 4, 3]),
    "aten.avg_pool1d.default": alone([3], [2], [1], True, False),
    "aten.avg_pool2d.default": alone([3, 2], [2, 3], [1, 0], True, True, 5),
    "aten.adaptive_avg_pool1d.default": alone([4]),
    "aten.adaptive_avg_pool2d.default": alone([3, 5]),
    "aten.mean.dim": lambda op, m, x: op(op(m.before(x), [1]).unsqueeze(1) * m.other(x), [-1, 2]),
    "aten.linalg_vector_norm.default": lambda op, m, x: m.before(x) / op(m.before(x), 2.0, [1], True).clamp_min(0.1),
    "aten.norm.ScalarOpt_dim": alone(2, [2, 3]),
    "aten.var.dim": alone([-1], True, True),
    "aten.var.correction": lambda op, m, x: op(m.before(x), [2, 3], correction=0),
    "aten.std.dim": alone([1, 2], False),
    "aten.std.correction": lambda op, m, x: op(m.before(x), [-1], correction=2, keepdim=True),
    "aten.sum.dim_IntList": alone([-3, 3], True),
    "aten.upsample_linear1d.vec": alone(None, False, [2.0]),
    "aten.upsample_bilinear2d.vec": lambda op, m, x: op(op(m.before(x), [17, 5], True, None), None, False, [1.5, 4.0]),
    "aten.upsample_trilinear3d.vec": lambda op, m, x: op(solid(m.before(x)), None, False, [2.0, 3.0, 2.0]),
    "aten.flatten.using_ints": alone(2),
    "aten.reshape.default": lambda op, m, x: op(m.before(x), [x.shape[0], 2, -1]),
    "aten.view.default": lambda op, m, x: op(m.before(x), [x.shape[0], -1]),
    "aten.squeeze.dim": lambda op, m, x: op(m.before(x)[:, :1], 1),
    "aten.squeeze.dims": lambda op, m, x: op(m.before(x)[:, :1, :1], [1, 2]),
    "aten.unsqueeze.default": alone(2),
    "aten.unflatten.int": alone(1, [2, -1]),
    "aten.slice.Tensor": alone(-1, 1, -1, 2),
    "aten.select.int": alone(-1, -2),
    "aten.narrow.default": alone(1, -3, 2),
    "aten.chunk.default": item(2, 3, 2),
    "aten.split.Tensor": item(1, 2, -1),
    "aten.split.sizes": item(1, [1, 3], 1),
    "aten.split_with_sizes.default": item(2, [1, 2, 1], 1),
    "aten.tensor_split.sections": item(0, 3, 1),
    "aten.tensor_split.indices": item(1, [1, 2], 1),
    "aten.unbind.int": item(3, 1),
    "<built-in function getitem>": lambda op, m, x: op(m.before(x).chunk(2, 1), 1),
    "aten.permute.default": alone([0, -1, 1, 2]),
    "aten.transpose.int": alone(-3, 2),
    "aten.swapaxes.default": alone(1, -1),
    "aten.swapdims.default": alone(3, 1),
    "aten.movedim.int": alone(1, -1),
    "aten.movedim.intlist": alone([3, 2], [1, 3]),
    "aten.moveaxis.int": alone(-1, 1),
    "aten.moveaxis.intlist": alone([1, 2], [2, 3]),
    "aten.mT.default": alone(),
    "aten.pixel_shuffle.default": alone(2),
    "aten.pixel_unshuffle.default": lambda op, m, x: op(m.before(x)[:, :, :8], 2),
    "aten.channel_shuffle.default": alone(2),
    "aten.flip.default": alone([1, -1]),
    "aten.roll.default": alone([2, -1], [1, 3]),
    "aten.rot90.default": alone(1, [2, 3]),
    "aten.index.Tensor": lambda op, m, x: op(m.before(x), [None, None, torch.tensor([3, 0]), torch.tensor([1, 5])]),
    "aten.index_select.default": lambda op, m, x: op(m.before(x), 1, torch.tensor([2, 2, 0])),
    "aten.tile.default": alone([2, 1, 1]),
    "aten.repeat.default": lambda op, m, x: op(m.before(x), [1, 2, 1, 1]) + op(m.token, [x.shape[0], 2, 1, 1]),
    "aten.repeat_interleave.self_int": alone(2, 1),
    "aten.im2col.default": alone([2, 3], [2, 1], [1, 0], [2, 3]),
    "aten.col2im.default": lambda op, m, x: op(
        m.before(x).flatten(2)[..., :24], [12, 9], [2, 2], [3, 1], [1, 0], [2, 2]
    ),
    "aten.cumsum.default": alone(-2),
    "aten.unfold.default": alone(2, 3, 2),
    "aten.diagonal.default": alone(0, -2, -1),
    "aten.upsample_nearest1d.vec": alone([17], None),
    "aten.upsample_nearest2d.vec": alone(None, [2.0, 1.5]),
    "aten.upsample_nearest3d.vec": lambda op, m, x: op(solid(m.before(x)), None, [2.0, 3.0, 1.0]),
    "aten._upsample_nearest_exact1d.vec": alone(None, [1.7]),
    "aten._upsample_nearest_exact2d.vec": alone([13, 5], None),
    "aten._upsample_nearest_exact3d.vec": lambda op, m, x: op(solid(m.before(x)), None, [2.0, 0.5, 1.0]),
    "aten.pad.default": alone([1, 0, 2, 1, 0, 1]),
    "aten.constant_pad_nd.default": lambda op, m, x: op(op(m.before(x), [0, 2, -1, 1]), [1, 0, -1, 2], 0.5),
    **both("dropout.default", alone(0.5, False)),
    **both("feature_dropout.default", alone(0.5, False)),
    "aten.alias.default": alone(),
    "aten.clone.default": alone(),
    "aten.contiguous.default": alone(),
    "aten.detach.default": alone(),
    "aten.to.dtype": alone(torch.float64),
    "aten.to.dtype_layout": lambda op, m, x: op(m.before(x), dtype=torch.float64),
    "aten.to.device": alone(torch.device("cpu"), torch.float64),
    "aten._to_copy.default": lambda op, m, x: op(m.before(x), dtype=torch.float64),
    "aten.type_as.default": lambda op, m, x: op(m.before(x), m.wide),
}


MADE = {f"aten.{name}.default" for name in ("zeros", "ones", "full", "new_zeros", "new_ones", "new_full")}
MADE |= {f"aten.{name}_like.default" for name in ("zeros", "ones", "full")}
"""Operators that make constants: they are folded, and no handler sees them."""
ELSEWHERE = {"aten.embedding.default", "aten.embedding_bag.default", "aten.embedding_bag.padding_idx"}
"""Operands are inputs of integers: tests/parity/test_transformers.py, tests/nn/test_whole.py."""


def test_every_operator_has_a_case() -> None:
    assert set(CASES) - MADE == set(handlers()) - ELSEWHERE


def model_of(target: str) -> tuple[Around, tuple[int, ...]]:
    torch.manual_seed(5)
    dims = 1 if "1d" in target else 2
    model, shape = Around(target, CASES[target], dims).eval(), (3, 9, 8)[: dims + 1]
    with torch.no_grad():
        model(torch.randn(2, *shape))  # the lazy layer learns its size
    return model, shape


@pytest.mark.parametrize("target", CASES)
def test_operator(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, shape = model_of(target)
    seen: set[str] = set()

    def exported(*args: Any) -> Exported:
        """What prepare exports; its operators are seen as torch.export gave them."""
        result = export(*args)
        seen.update(str(node.target) for node in result.program.graph.nodes)
        return result

    monkeypatch.setattr("dqt.nn.prepare.export", exported)
    net, x = ready(model, shape, widths=(2, 5, 8))
    same = {"aten.contiguous.default", "aten.alias.default", "aten.detach.default", "aten.detach_.default"}
    assert target in seen or (target in same and not seen & {"aten.copy_.default"}), seen
    with torch.no_grad():
        expected = model(x)
        torch.testing.assert_close(net._run(x, Run({}, quantized=False), False), expected, rtol=1e-4, atol=1e-5)
    program = lower(net)
    for plan in (2, 5, 8):
        np.testing.assert_array_equal(program(x, plan), net(x, plan, exact=True).numpy())
    outputs = {"served": net(x, 8, exact=True), "trained": train_step(net, x, 8)}
    if "dropout" in target or "batch_norm" in target:  # training has noise, or the statistics of the batch
        del outputs["trained"]
    for name, y in outputs.items():
        assert float((y - expected).norm() / expected.norm()) < 0.08, name
