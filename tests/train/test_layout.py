"""Images train in NHWC where that is safe and faster; small networks train in the default settings everywhere."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from dqt.nn.config import Config
from dqt.nn.prepare import prepare
from dqt.train.fit import fit
from dqt.train.layout import arrange, arranged, memory_order
from dqt.train.models import digits_cnn, resnet18_cifar
from dqt.train.recipe import Recipe

CPU = torch.device("cpu")
LAST, FIRST = torch.channels_last, torch.contiguous_format


def strided(channels: int, kernel: int = 1, stride: int = 2) -> nn.Conv2d:
    return nn.Conv2d(channels, 8, kernel, stride, kernel // 2)


@pytest.fixture
def avx2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")


@pytest.mark.usefixtures("avx2")
@pytest.mark.parametrize(
    ("module", "order"),
    [
        (strided(15), FIRST),
        (strided(16), LAST),
        (strided(4, kernel=3), LAST),
        (strided(4, stride=1), LAST),
        (nn.Sequential(strided(64), nn.Conv2d(64, 16, 1, (1, 2), groups=16)), FIRST),  # 4 channels in each group
        (nn.Conv1d(4, 8, 1, 2), LAST),
        (digits_cnn(), LAST),
        (resnet18_cifar(planes=(16, 32, 64, 128)), LAST),
        (resnet18_cifar(planes=(4, 4, 8, 8), channels=1), FIRST),
    ],
)
def test_strided_convolutions_of_one_pixel_need_sixteen_channels(module: nn.Module, order: torch.memory_format) -> None:
    assert memory_order(CPU, True, module) is order
    assert memory_order(CPU, True, nn.Identity(), module) is order
    assert memory_order(CPU, False, module) is FIRST
    assert memory_order(torch.device("cuda"), True, module) is LAST


@pytest.mark.parametrize(
    ("capability", "order"), [("AVX512", LAST), ("AVX2", LAST), ("DEFAULT", FIRST), ("SVE256", FIRST)]
)
def test_only_processors_that_were_measured_take_the_order(
    capability: str, order: torch.memory_format, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert memory_order(CPU, True, digits_cnn()) is order


@pytest.mark.usefixtures("avx2")
def test_a_prepared_network_decides_as_its_model_and_starts_in_torchs_order() -> None:
    model = nn.Sequential(strided(4), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3))
    arrange(model, LAST)
    net = prepare(model, torch.randn(2, 4, 2, 2))
    assert memory_order(CPU, True, net) is FIRST
    assert net.layer("0").weight.stride() == (4, 1, 1, 1)


def test_arranging_goes_there_and_back_also_for_kernels_of_one_pixel() -> None:
    module = nn.Sequential(strided(4), strided(4, kernel=3))
    expected = {name: (value.clone(), value.stride()) for name, value in module.state_dict().items()}
    arrange(module, LAST)
    assert module.state_dict()["1.weight"].is_contiguous(memory_format=LAST)
    arrange(module, FIRST)
    for name, value in module.state_dict().items():
        assert torch.equal(value, expected[name][0])
        assert value.stride() == expected[name][1]
    assert arranged(torch.rand(2, 3, 4, 4), LAST).stride() == (48, 1, 12, 3)
    assert arranged(torch.rand(2, 3, 4), LAST).stride() == (12, 4, 1)


class Small(nn.Module):
    """Convolutions of every kind on few channels: 3x3 and 1x1, strided, grouped, beside a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, channels, 3, padding=1)
        self.down = nn.Conv2d(channels, channels, 3, 2, 1, groups=channels)
        self.bn = nn.BatchNorm2d(channels)
        self.skip = nn.Conv2d(channels, channels, 1, 2, bias=False)
        self.again = nn.Conv2d(channels, channels, 1, 3)
        self.linear = nn.Linear(channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        x = torch.relu(self.bn(self.down(x)) + self.skip(x))
        logits: Tensor = self.linear(torch.relu(self.again(x)).mean((2, 3)))
        return logits


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 7, 8, 12, 16])
def test_small_networks_train_in_the_default_settings_whatever_the_processor(channels: int) -> None:
    torch.manual_seed(channels)
    y = torch.arange(24) % 3
    x = torch.randn(24, 1, 8, 8) + y.view(-1, 1, 1, 1)
    teacher = Small(channels)
    net = prepare(Small(channels), x[:2], Config(widths=(2, 8)))
    recipe = Recipe(epochs=2, batch_size=6, lr=0.01, teacher="float", reestimate_batches=2)
    history = fit(net, (x, y), (x, y), recipe, teacher=teacher, progress=False)
    assert all(torch.isfinite(p).all() for p in net.parameters())
    assert set(history.accuracy) == {"2", "8"}
