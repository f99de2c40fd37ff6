"""Named dimensions: the same integers at other sizes as of a network that was prepared for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.export import Dim

from dqt.arith.errors import InputError
from dqt.lower.emit import lower
from dqt.nn.calibrate import calibrate
from dqt.nn.config import Config, Controller
from dqt.nn.errors import UnsupportedError
from dqt.nn.net import Net
from dqt.nn.prepare import prepare
from dqt.nn.run import Run
from dqt.program.file import dumps
from dqt.program.interpret import interpret
from dqt.program.program import loads
from dqt.runtime.runtime import Runtime
from tests.nn.test_inputs import Around
from tests.nn.test_states import Streaming

Forward = Callable[[Any, Tensor], Any]
IMAGE, TEXT = {2: "height", 3: "width"}, {1: "length"}


def conv(inputs: int = 3, outputs: int = 4, size: int = 3, **options: Any) -> nn.Module:
    return nn.Conv2d(inputs, outputs, size, padding=size // 2, **options)


class Positions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(1, 32, 8))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.table[:, : x.shape[1]]


def unet(m: Any, x: Tensor) -> Tensor:
    first = m.a(x).relu()
    y: Tensor = m.out(torch.cat([first, m.up(F.max_pool2d(first, 2))], 1))
    return y


def windows(m: Any, x: Tensor) -> Tensor:
    n, _, h, w = x.shape
    parts = m.a(x).reshape(n, 4, h // 2, 2, w // 2, 2).permute(0, 2, 4, 3, 5, 1)
    y: Tensor = m.fc(parts.flatten(3)).permute(0, 3, 1, 2)
    return y


def counted(m: Any, x: Tensor) -> Tensor:
    y: Tensor = m.fc(x * torch.arange(x.shape[1]).float()[:, None] / 10)
    return y


def attention(m: Any, x: Tensor) -> Tensor:
    y = F.scaled_dot_product_attention(m.q(x), m.k(x), m.v(x), is_causal=True)
    seen = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).tril(1)
    z: Tensor = m.fc(y + F.scaled_dot_product_attention(m.q(x), m.k(x), m.v(x), attn_mask=seen))
    return z


QUARTERS = {2: 4 * Dim("down", min=2), 3: 4 * Dim("across", min=2)}


def enlarged(m: Any, x: Tensor) -> Tensor:
    y = m.b(F.interpolate(m.a(x).relu(), scale_factor=(2, 3)))
    return F.interpolate(y, scale_factor=2, mode="bilinear")


def pyramid(m: Any, x: Tensor) -> Tensor:
    """A coarse map made larger, joined with a fine one and added to what comes of both, as detectors do."""
    fine = F.silu(m.a(x))
    coarse = F.silu(m.b(fine))
    both = torch.cat([F.interpolate(coarse, scale_factor=2), fine], 1)
    up = F.interpolate(m.low(coarse), size=fine.shape[2:], mode="nearest")
    y: Tensor = m.head(F.silu(m.c(both))) + up
    return y


NETWORKS: dict[str, tuple[Forward, dict[str, nn.Module], tuple[int, ...], dict[int, Any], list[tuple[int, ...]]]] = {
    "strided": (
        lambda m, x: m.b(m.a(x).relu()), {"a": conv(), "b": conv(4, 2, stride=2)},
        (3, 8, 8), IMAGE, [(3, 9, 14), (3, 17, 5)],
    ),
    "height alone": (lambda m, x: m.b(m.a(x).relu()), {"a": conv(), "b": conv(4, 2)}, (3, 8, 8), {2: "h"}, [(3, 5, 8)]),
    "tokens of an image": (
        lambda m, x: m.fc(m.a(x).relu().flatten(2).transpose(1, 2)), {"a": conv(), "fc": nn.Linear(4, 3)},
        (3, 8, 8), IMAGE, [(3, 9, 14)],
    ),
    "U-Net": (
        unet, {"a": conv(), "up": nn.ConvTranspose2d(4, 4, 2, 2), "out": conv(8, 2, 1)},
        (3, 8, 8), IMAGE, [(3, 12, 14), (3, 6, 20)],
    ),
    "windows": (windows, {"a": conv(), "fc": nn.Linear(16, 3)}, (3, 8, 8), IMAGE, [(3, 4, 14)]),
    "pixels": (
        lambda m, x: F.pixel_shuffle(m.a(F.pixel_unshuffle(x, 2)), 2), {"a": conv(12, 8)},
        (3, 8, 8), IMAGE, [(3, 10, 14)],
    ),
    "positions": (
        lambda m, x: m.fc(m.p(x)), {"p": Positions(), "fc": nn.Linear(8, 8)}, (6, 8), TEXT, [(9, 8), (32, 8)],
    ),
    "counted": (counted, {"fc": nn.Linear(8, 4)}, (6, 8), {1: Dim("length", max=40)}, [(3, 8), (40, 8)]),
    "attention": (
        attention, {name: nn.Linear(8, 8) for name in ("q", "k", "v", "fc")},
        (6, 8), {1: Dim("length", max=16)}, [(9, 8), (16, 8), (3, 8)],
    ),
    "cut": (lambda m, x: m.fc(x[:, 1:-1] + x[:, 2:]), {"fc": nn.Linear(8, 8)}, (6, 8), TEXT, [(9, 8), (40, 8)]),
    "frames": (
        lambda m, x: m.b(m.a(x).relu()), {"a": nn.Conv1d(3, 4, 3), "b": nn.Conv1d(4, 2, 1)},
        (3, 8), {-1: "frames"}, [(3, 4), (3, 50)],
    ),
    "averaged": (
        lambda m, x: m.fc(m.a(x).relu().mean((2, 3))), {"a": conv(), "fc": nn.Linear(4, 3)},
        (3, 8, 8), IMAGE, [(3, 5, 9), (3, 40, 31)],
    ),
    "pooled": (
        lambda m, x: F.adaptive_avg_pool2d(m.a(x).relu(), 1).flatten(1), {"a": conv()},
        (3, 8, 8), IMAGE, [(3, 5, 9), (3, 40, 31)],
    ),
    "larger": (
        enlarged,
        {"a": conv(), "b": conv(4, 2)}, (3, 8, 8), IMAGE, [(3, 4, 10), (3, 11, 5)],
    ),
    "wider": (
        lambda m, x: m.b(F.interpolate(m.a(x).relu(), scale_factor=(1, 2), mode="nearest-exact")),
        {"a": conv(), "b": conv(4, 2)}, (3, 8, 8), {3: "width"}, [(3, 8, 5), (3, 8, 20)],
    ),
    "as large as the input": (
        lambda m, x: m.b(F.interpolate(m.a(x).relu(), size=x.shape[2:], mode="bilinear", align_corners=True)),
        {"a": conv(stride=2), "b": conv(4, 2)}, (3, 8, 8), {2: 2 * Dim("rows"), 3: 2 * Dim("columns")},
        [(3, 4, 14), (3, 10, 6)],
    ),
    "pyramid": (
        pyramid,
        {"a": conv(stride=2), "b": conv(4, 6, stride=2), "c": conv(10, 8), "head": conv(8, 5, 1), "low": conv(6, 5, 1)},
        (3, 16, 8), QUARTERS, [(3, 8, 20)],
    ),
    "padded": (lambda m, x: m.a(F.pad(x, (1, 2, 0, 3))), {"a": conv()}, (3, 8, 8), IMAGE, [(3, 5, 9)]),
}  # fmt: skip


def made(name: str) -> tuple[Net, nn.Module, list[Tensor]]:
    function, modules, shape, dims, sizes = NETWORKS[name]
    torch.manual_seed(0)
    model, x = Around(function, **modules).eval(), torch.randn(8, *shape)
    net = calibrate(prepare(model, x, dims=dims).eval(), [x])
    return net, model, [torch.randn(3, *size) for size in sizes]


def same_at(net: Net, model: nn.Module, x: Tensor, dims: dict[int, Any] | None = None) -> Net:
    """A network prepared at the size of ``x``, with the parameters and ranges of ``net``."""
    other = prepare(model, x, dims=dims).eval()
    own = other.state_dict()
    cut = {name: t[tuple(map(slice, own[name].shape))] if t.dim() else t for name, t in net.state_dict().items()}
    other.load_state_dict(cut)
    return other


@pytest.mark.parametrize("name", NETWORKS)
def test_other_sizes(name: str) -> None:
    net, model, inputs = made(name)
    program = loads(dumps(lower(net)))
    run = Runtime(program)
    for x in inputs:
        with torch.no_grad():
            torch.testing.assert_close(net._run(x, Run({}, quantized=False), False), model(x), rtol=1e-4, atol=1e-5)
            assert net(x, 4).shape == model(x).shape
        # by channel such a constant is folded into a multiplication, where its length is fixed
        other = same_at(net, model, x, NETWORKS[name][3] if name == "counted" else None)
        for plan in (None, 3):
            exact = net(x, plan, exact=True).numpy()
            np.testing.assert_array_equal(interpret(program, x, plan), exact)
            np.testing.assert_array_equal(run(x, plan), exact)
            np.testing.assert_array_equal(other(x, plan, exact=True).numpy(), exact)


def test_data_of_several_sizes_calibrate_and_train() -> None:
    net, _, (x, y) = made("strided")
    calibrate(net, [x, 3 * y])
    assert float(net.clips()["input"]) > 1.5 * float(x.abs().max())
    net.train()
    for batch in (x, y):
        net(batch, 4).square().mean().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())


def test_two_inputs_share_a_dimension() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 6), nn.Linear(5, 6)

        def forward(self, left: Tensor, right: Tensor) -> Any:
            return {"sum": self.a(left) + self.b(right), "left": left}

    x = {"left": torch.randn(4, 7, 4), "right": torch.randn(4, 7, 5)}
    dims = {"left": {1: "length"}, "right": {1: "length"}}
    net = calibrate(prepare(Two().eval(), x, dims=dims).eval(), [x])
    program = lower(net)
    longer = {name: each.repeat(1, 3, 1) for name, each in x.items()}
    found, exact = interpret(program, longer), net(longer, exact=True)
    for name in ("sum", "left"):
        np.testing.assert_array_equal(found[name], exact[name].numpy())
    with pytest.raises(InputError, match="dimension 'length' is 7 in 'right' and 21 elsewhere"):
        net({"left": longer["left"], "right": x["right"]})
    with pytest.raises(InputError, match=r"input 'left' of shape \(4, 7, 5\): this network takes \(N, length, 4\)"):
        net({"left": x["right"], "right": x["right"]})


def test_a_state_beside_a_dimension() -> None:
    """Frames that come as many as there are at a time."""
    torch.manual_seed(0)
    x, past = torch.randn(8, 3, 5), torch.randn(8, 3, 3)
    net = prepare(Streaming().eval(), (x, past), state={"past": "1"}, dims={"x": {2: "frames"}}).eval()
    program = lower(calibrate(net, [(x, past)]))
    whole = torch.randn(2, 3, 30)
    expected, held, parts = interpret(program, whole, 4)[0], None, []
    for frames in torch.split(whole, [4, 16, 10], 2):
        y, held = interpret(program, frames, 4, held)
        parts.append(y)
    np.testing.assert_array_equal(np.concatenate(parts, 2), expected)


def halved(m: Any, x: Tensor) -> Tensor:
    y: Tensor = m.fc(x[:, : x.shape[1] // 2])
    return y


def turned(m: Any, x: Tensor) -> Tensor:
    y: Tensor = m.a(x)[:, :3] + x.transpose(2, 3)
    return y


DIMS: dict[str, tuple[Forward, tuple[int, ...], Any, str]] = {
    "a half": (halved, (6, 8), TEXT, r"aten\.slice\.Tensor in .* cuts at a place that is neither .*At .*test_inputs"),
    "no input": (lambda m, x: m.a(x), (3, 6, 6), {"y": IMAGE}, "dims names the input 'y': the model takes 'input'"),
    "no axis": (lambda m, x: m.a(x), (3, 6, 6), {4: "depth"}, "dimension 4 of 'input': need 1 to 3, 0 is the batch"),
    "the batch": (lambda m, x: m.a(x), (3, 6, 6), {0: "n"}, "0 is the batch"),
    "no name": (lambda m, x: m.a(x), (3, 6, 6), {2: "two words"}, "dims calls a dimension 'two words'"),
    "one": (lambda m, x: m.a(x), (3, 1, 6), {2: "height"}, "dimension 'height' of 'input' is 1 in the example"),
    "two sizes": (lambda m, x: m.a(x), (3, 5, 6), {2: "s", 3: "s"}, "dimension 's' is 6 in 'input' and 5 elsewhere"),
    "equal": (turned, (3, 6, 6), IMAGE, "'height' and 'width' are always equal in this model"),
    "fixed": (
        lambda m, x: m.fc(m.a(x).mean(3)), (3, 8, 6), {2: "height"},
        "does not accept every size of 'height': it works for the size 8 alone",
    ),
    "too many": (
        lambda m, x: m.fc(m.p(x)), (6, 8), {1: Dim("length", max=99)},
        "dims lets dimension 'length' be up to 99, and the model takes 32",
    ),
    "no end": (counted, (6, 8), TEXT, r"as long as dimension 'length', .* torch\.export\.Dim\('length', max=512\)"),
    "pixels picked": (
        lambda m, x: F.interpolate(m.a(x), scale_factor=1.5), (3, 6, 6), IMAGE,
        "picks other elements by index at another size of a named dimension",
    ),
    "out of proportion": (
        lambda m, x: F.interpolate(m.s(x), size=x.shape[2:], mode="bilinear"), (3, 6, 6), IMAGE,
        "gives a size that is not in proportion to its operand's at every size",
    ),
    "rounded up": (
        lambda m, x: F.max_pool2d(m.a(x), 3, 2, ceil_mode=True), (3, 6, 6), IMAGE,
        "becomes MaxPool with other padding at another size",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", DIMS)
def test_dimensions_that_cannot_be_named(case: str) -> None:
    function, shape, dims, message = DIMS[case]
    model = Around(function, a=conv(), s=conv(stride=2), fc=nn.Linear(8, 4), p=Positions()).eval()
    with pytest.raises(UnsupportedError, match=message):
        prepare(model, torch.randn(4, *shape), dims=dims)


def test_sizes_that_a_network_does_not_take() -> None:
    net, _, _ = made("positions")
    with pytest.raises(InputError, match="dimension 'length' is 33: this network takes 2 to 32"):
        net(torch.randn(2, 33, 8))
    net, _, _ = made("U-Net")
    with pytest.raises((InputError, RuntimeError)):
        net(torch.randn(2, 3, 9, 8), exact=True)


def test_a_controller_beside_a_dimension() -> None:
    """It averages what it reads over all of an image: a raster of more would not follow the sizes."""
    torch.manual_seed(0)
    model = nn.Sequential(conv(), nn.ReLU(), conv(4, 4), nn.ReLU(), conv(4, 2)).eval()
    x = torch.randn(4, 3, 8, 8)
    with pytest.raises(UnsupportedError, match=r"controller\.pool becomes AvgPool with other .* at another size of a"):
        prepare(model, x, Config(controller=Controller(grid=2)), dims=IMAGE)
    net = calibrate(prepare(model, x, Config(controller=Controller(grid=1)), dims=IMAGE).eval(), [x])
    longer = torch.randn(4, 3, 12, 9)
    np.testing.assert_array_equal(interpret(lower(net), longer, "auto"), net(longer, "auto", exact=True).numpy())
    assert net(longer, "auto").shape == (4, 2, 12, 9)
