"""Small networks out of the operators that can be quantized, and networks prepared from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dqt.nn.calibrate import run_calibration
from dqt.nn.config import Config, Controller
from dqt.nn.net import Net
from dqt.nn.prepare import prepare

Forward = Callable[[Any, Tensor], Tensor]


class Model(nn.Module):
    """Submodules by name, and a forward function of them."""

    def __init__(self, function: Forward, **modules: nn.Module) -> None:
        super().__init__()
        for name, module in modules.items():
            self.add_module(name, module)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        """The function of this module and ``x``."""
        return self.function(self, x)


def conv(inputs: int = 4, outputs: int = 4, kernel: int = 3, **options: Any) -> nn.Conv2d:
    """A convolution that keeps height and width, unless ``options`` of ``nn.Conv2d`` say otherwise."""
    return nn.Conv2d(inputs, outputs, kernel, **{"padding": kernel // 2, **options})


def option_a(m: Any, x: Tensor) -> Tensor:
    """A strided convolution beside a shortcut that drops pixels and pads channels (He et al. 2016, option A)."""
    return F.relu(m.bn(m.conv(x)) + F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2)))


def excitation(m: Any, x: Tensor) -> Tensor:
    """Squeeze and excitation: channels multiplied by a gate that reads their means."""
    s = x.mean((2, 3), keepdim=True)
    return x * F.hardsigmoid(m.up(F.relu(m.down(s))))


def join(m: Any, x: Tensor) -> Tensor:
    """Two convolutions and their input, concatenated."""
    return torch.cat([F.relu(m.a(x)), m.b(x), x], 1)


def shared(m: Any, x: Tensor) -> Tensor:
    """One value read by a product and by two sums."""
    a = m.a(x)
    return a * F.silu(a) + a + x


def in_place(m: Any, x: Tensor) -> Tensor:
    """A residual block whose sum and activation are in place."""
    y = m.bn(m.conv(x))
    y += x
    return F.relu_(y)


def sliced(m: Any, x: Tensor) -> Tensor:
    """A convolution of some channels, concatenated with channels that overlap them."""
    return torch.cat([m.conv(x[:, :2]), x[:, 1:4]], 1)


def block(kind: str, channels: int) -> tuple[nn.Module, int]:
    """A block of a kind in ``BLOCKS`` that reads ``[N, channels, H, W]``, and the number of its output channels."""
    c = channels
    made: dict[str, Callable[[], tuple[nn.Module, int]]] = {
        "plain": lambda: (nn.Sequential(conv(c, 6, bias=False), nn.BatchNorm2d(6), nn.ReLU(inplace=True)), 6),
        "option_a": lambda: (Model(option_a, conv=conv(c, c + 4, stride=2), bn=nn.BatchNorm2d(c + 4)), c + 4),
        "excitation": lambda: (Model(excitation, down=conv(c, 2, 1), up=conv(2, c, 1)), c),
        "join": lambda: (Model(join, a=conv(c, 3), b=conv(c, 2, 1)), c + 5),
        "shared": lambda: (Model(shared, a=conv(c, c)), c),
        "in_place": lambda: (Model(in_place, conv=conv(c, c), bn=nn.BatchNorm2d(c)), c),
        "sliced": lambda: (Model(sliced, conv=conv(2, 3)), 6),
        "depthwise": lambda: (nn.Sequential(conv(c, 2 * c, groups=c), nn.ReLU6(), conv(2 * c, c, 1)), c),
        "dilated": lambda: (nn.Sequential(conv(c, 5, padding=2, dilation=2), nn.Hardswish(inplace=True)), 5),
        "same": lambda: (nn.Sequential(nn.Conv2d(c, 4, (5, 3), padding="same"), nn.LeakyReLU(0.2)), 4),
        "asymmetric": lambda: (nn.Sequential(nn.ZeroPad2d((0, 1, 2, 1)), nn.Conv2d(c, 4, 3, 2), nn.GELU()), 4),
        "stray": lambda: (nn.Sequential(nn.Sigmoid(), nn.BatchNorm2d(c), nn.ReLU()), c),
        "max_pool": lambda: (nn.Sequential(nn.MaxPool2d(2, 2, ceil_mode=True), nn.ReLU(), nn.Dropout(0.2)), c),
        "average": lambda: (nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False), c),
        "counted": lambda: (nn.Sequential(nn.AvgPool2d(3, 2, 1, ceil_mode=True), nn.Tanh()), c),
        "adaptive": lambda: (nn.Sequential(nn.AdaptiveAvgPool2d((3, 5)), nn.Dropout2d(0.1)), c),
    }
    return made[kind]()


BLOCKS = (
    "plain", "option_a", "excitation", "join", "shared", "in_place", "sliced", "depthwise", "dilated", "same",
    "asymmetric", "stray", "max_pool", "average", "counted", "adaptive",
)  # fmt: skip
HEADS = ("linear", "norm", "tokens", "conv", "relu", "pool")


def head(kind: str, c: int) -> Sequence[nn.Module]:
    """The last modules of a network, of a kind in ``HEADS``, after ``c`` channels: not always a linear layer."""
    flat = (nn.AdaptiveAvgPool2d(1), nn.Flatten())
    heads: dict[str, Sequence[nn.Module]] = {
        "linear": (*flat, nn.Linear(c, 5)),
        "norm": (*flat, nn.Linear(c, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 5)),
        "tokens": (nn.AdaptiveAvgPool2d((2, 2)), nn.Flatten(2), nn.Linear(4, 5), nn.BatchNorm1d(c)),
        "conv": (conv(c, 3, 1),),
        "relu": (conv(c, 3), nn.ReLU()),
        "pool": (conv(c, 5), *flat),
    }
    return heads[kind]


def random_model(seed: int) -> tuple[nn.Module, tuple[int, ...]]:
    """A network of a stem, three blocks and a head, of seeded kinds and weights, and the shape of one input."""
    torch.manual_seed(seed)
    kinds = [BLOCKS[i] for i in torch.randperm(len(BLOCKS))[:3].tolist()]
    kinds[0] = BLOCKS[seed % len(BLOCKS)]
    layers: list[nn.Module] = [conv(3, 6), nn.ReLU()]
    channels = 6
    for kind in kinds:
        made, channels = block(kind, channels)
        layers.append(made)
    model = nn.Sequential(*layers, *head(HEADS[seed % len(HEADS)], channels))
    unsettle(model)
    return model, (3, 9, 8)


def unsettle(model: nn.Module) -> None:
    """Give batch norms statistics and affines that differ by channel."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.2)


def ready(model: nn.Module, shape: tuple[int, ...], **options: Any) -> tuple[Net, Tensor]:
    """The model prepared and calibrated, in evaluation mode, and data ``[6, *shape]``."""
    x = torch.randn(6, *shape, generator=torch.Generator().manual_seed(1))
    net = prepare(model, x, Config(**options)).eval()
    run_calibration(net, [x, x[:2]])  # without its warnings: random weights on noise are not a healthy network
    return net, x


def with_controller(**options: Any) -> dict[str, Any]:
    """Options of a configuration whose controller is small."""
    return {"controller": Controller(hidden=3, **options)}


def small(seed: int = 0) -> nn.Module:
    """Convolutions with batch norms, a residual, a linear layer: ``[N, 3, 8, 8]`` to ``[N, 5]``."""
    torch.manual_seed(seed)
    stem = (conv(3, 6, bias=False), nn.BatchNorm2d(6), nn.ReLU())
    body = Model(in_place, conv=conv(6, 6, bias=False), bn=nn.BatchNorm2d(6))
    model = nn.Sequential(*stem, body, conv(6, 8), nn.ReLU(), *head("linear", 8))
    unsettle(model)
    return model
