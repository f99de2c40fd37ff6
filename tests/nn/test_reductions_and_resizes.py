"""Means, sums, maxima and interpolation in networks: exact at all widths, and mirrored by the differentiable pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dqt.lower.emit import lower
from dqt.nn.net import Net
from dqt.nn.run import Run
from dqt.program.ops.mean import Mean
from dqt.program.ops.resize import Resize
from dqt.runtime import Runtime
from dqt.testing.networks import Model, ready
from tests.nn.test_agreement import apart

Call = Callable[[Tensor], Tensor]
LINEAR: dict[str, Call] = {
    "factor 2": lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"),
    "factors": lambda x: F.interpolate(x, scale_factor=(3, 4), mode="bilinear"),
    "aligned": lambda x: F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True),
    "size": lambda x: F.interpolate(x, size=(13, 5), mode="bilinear"),
    "aligned size": lambda x: F.interpolate(x, size=(1, 20), mode="bilinear", align_corners=True),
    "factor 1.5": lambda x: F.interpolate(x, scale_factor=1.5, mode="bilinear"),
    "factor 0.7": lambda x: F.interpolate(x, scale_factor=0.7, mode="bilinear"),
    "factor 1.5 of the size": lambda x: F.interpolate(
        x, scale_factor=1.5, mode="bilinear", recompute_scale_factor=True
    ),
    "same size": lambda x: F.interpolate(x, size=(9, 8), mode="bilinear"),
    "line": lambda x: F.interpolate(x.flatten(2), scale_factor=2, mode="linear"),
    "volume": lambda x: F.interpolate(x.reshape(-1, 2, 2, *x.shape[2:]), scale_factor=2, mode="trilinear"),
}
REDUCED: dict[str, Call] = {
    "channels": lambda x: x.mean(1, keepdim=True) * x,
    "all": lambda x: x.mean((1, 2, 3)).unsqueeze(1),
    "columns": lambda x: x.mean(-1),
    "rows and channels": lambda x: x.sum((1, 2)),
    "sum": lambda x: x.sum(1),
    "one element": lambda x: x[:, :1].sum(1, keepdim=True),
    "image": lambda x: x.mean((2, 3)),
    "norm": lambda x: x.norm(dim=1),
    "norm of order 1": lambda x: torch.linalg.vector_norm(x, 1, (2, 3)),
    "norm of order 3": lambda x: torch.linalg.vector_norm(x, 3, 1, keepdim=True),
    "largest magnitude": lambda x: torch.linalg.vector_norm(x, torch.inf, 2),
    "least magnitude": lambda x: torch.linalg.vector_norm(x, -torch.inf, 2),
    "directions": lambda x: F.normalize(x, dim=1),
    "variance": lambda x: x.var((2, 3)),
    "deviation": lambda x: x.std(1, unbiased=False),
    "larger": lambda x: torch.maximum(x, x.flip(1)),
    "smaller": lambda x: torch.minimum(x, x.amin(1, keepdim=True).relu()),
    "smallest": lambda x: x.amin((1, 3)),
    "volume": lambda x: F.avg_pool3d(x.reshape(-1, 2, 2, *x.shape[2:]), (2, 3, 2), (1, 2, 2), (1, 1, 0), False, False),
    "maximum": lambda x: x.amax((1, 3)) + x.max(1).values.max(2, keepdim=True).values[..., 0],
}


def checked(call: Call, *, last: bool = False) -> tuple[Net, list[str]]:
    """Prepared, compared everywhere; the kinds of the program's instructions."""
    torch.manual_seed(4)
    parts = {"before": nn.Conv2d(3, 4, 3, padding=1)} | ({} if last else {"after": nn.LazyLinear(3)})
    model = Model(lambda m, x: call(m.before(x)) if last else m.after(call(m.before(x)).flatten(1)), **parts).eval()
    with torch.no_grad():
        model(torch.randn(2, 3, 9, 8))
    net, x = ready(model, (3, 9, 8), widths=(2, 5, 8))
    with torch.no_grad():
        expected = model(x)
        torch.testing.assert_close(net._run(x, Run({}, quantized=False), False), expected, rtol=1e-4, atol=1e-5)
    program = lower(net)
    run = Runtime(program, threads=1)
    for plan in (8, 5, 2):
        served = program(x, plan)
        np.testing.assert_array_equal(served, net(x, plan, exact=True).numpy())
        np.testing.assert_array_equal(served, run(x.numpy(), plan))
        assert last or apart(net, x, plan)[0] <= 1
    assert float((net(x, 8, exact=True) - expected).norm() / expected.norm()) < 0.05
    return net, [type(op).__name__ for op in program.ops]


@pytest.mark.parametrize("name", LINEAR)
def test_interpolation(name: str) -> None:
    _, kinds = checked(LINEAR[name])
    assert ("Resize" in kinds) == (name != "same size")


@pytest.mark.parametrize("name", ["factor 2", "size", "volume"])
def test_interpolation_of_int32_outputs(name: str) -> None:
    """A segmentation network ends so: its classes are interpolated as they are, not as 8-bit codes."""
    net, kinds = checked(LINEAR[name], last=True)
    assert "Resize" in kinds
    assert net.nodes[-1].quantizer == "same"
    assert net.quantizer(net.nodes[-1]) is None


@pytest.mark.parametrize("name", REDUCED)
def test_reductions(name: str) -> None:
    _, kinds = checked(REDUCED[name])
    assert ("Mean" in kinds, "Max" in kinds, "AvgPool" in kinds) == {
        **dict.fromkeys(("larger", "smaller", "smallest"), (False, True, False)),
        **dict.fromkeys(("largest magnitude", "least magnitude"), (False, True, False)),
         "volume": (False, False, True),
        "maximum": (False, True, False), "image": (False, False, True)
    }.get(name, (True, False, False))  # fmt: skip


def test_the_gradient_is_that_of_interpolation() -> None:
    net, x = ready(
        Model(lambda m, x: F.interpolate(m.a(x), scale_factor=2, mode="bilinear"), a=nn.Conv2d(3, 4, 1)), (3, 5, 5)
    )
    net.train()
    net(x).sum().backward()
    bias = net.get_submodule("a").bias
    assert isinstance(bias, Tensor)
    torch.testing.assert_close(bias.grad, torch.full((4,), 6.0 * 100))  # six samples of 10 x 10


def test_a_mean_over_many_elements_keeps_its_precision() -> None:
    """2^24 codes of 255 sum to 2^32 - 2^24: beyond int32, and exact."""
    op = Mean("x", "y", (1, 2), True, round(2**56 * 0.9), 1 << 31, 32, 0, 255)
    assert op.multiplier((1, 2**12, 2**12)) == round(2**32 * 0.9)
    assert op.multiplier((1, 1, 1)) == round(2**56 * 0.9)
    resize = Resize("x", "y", (0, 7), (1, 2, 0, 0), corners=False)
    assert resize.sides((3, 5, 5)) == (10, 7)


def test_a_pool_in_a_residual_stream_stays_a_float_of_the_model() -> None:
    """Pooling in the place of attention: an average that is an int32 sum of the stream, which a convolution reads."""

    def forward(m: Any, x: Tensor) -> Tensor:
        y = m.stem(x)
        z = m.first(y)
        y = y + F.avg_pool2d(z, 3, 1, 1, count_include_pad=False) - z
        result: Tensor = m.head(m.last(y)).mean((2, 3))
        return result

    norms = {name: nn.GroupNorm(1, 4) for name in ("first", "last")}
    net, x = ready(Model(forward, stem=nn.Conv2d(3, 4, 3), head=nn.Conv2d(4, 2, 1), **norms), (3, 8, 8), widths=(2, 8))
    np.testing.assert_array_equal(lower(net)(x, 8), net(x, 8, exact=True).numpy())
