"""What the user froze stays as it is, to the bit: parameters without requires_grad, norms in evaluation mode."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dqt.nn.calibrate import calibrate
from dqt.nn.config import Config
from dqt.nn.controller_alone import PREFIXES
from dqt.nn.net import Net
from dqt.nn.norms import Norm
from dqt.nn.prepare import prepare
from dqt.train.checkpoint import CheckpointError
from dqt.train.fit import fit
from dqt.train.gains import fit_controller
from dqt.train.loss import objective
from dqt.train.predict import outputs
from dqt.train.recipe import Recipe, RecipeError
from dqt.train.search import measure
from dqt.train.validate import reestimate

from .conftest import Tiny, tiny_data, tiny_net

RECIPE = Recipe(epochs=2, batch_size=8, lr=0.05, weight_decay=0.1, ema=0.9, reestimate_batches=2)


def prepared(model: nn.Module, **options: object) -> Net:
    return prepare(model, tiny_data()[0][:4], Config.model_validate({"widths": (2, 4, 8), **options}))


def state(net: Net) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in net.state_dict().items()}


def moved(net: Net, before: dict[str, Tensor]) -> set[str]:
    return {name for name, value in net.state_dict().items() if not torch.equal(value, before[name])}


def partly_frozen() -> Tiny:
    torch.manual_seed(0)
    model = Tiny()
    model.conv.requires_grad_(False)
    model.bn.requires_grad_(False)
    assert model.stem.bias is not None
    model.stem.bias.requires_grad_(False)
    return model


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_frozen_parameters_stay_through_prepare_and_fit(optimizer: str) -> None:
    net = prepared(partly_frozen())
    frozen = {"conv.weight", "conv.clip", "stem.bias"}
    frozen |= {f"bn.{at}{leaf}" for at in ("", "at.2.", "at.4.") for leaf in ("weight", "bias")}
    assert {name for name, p in net.named_parameters() if not p.requires_grad} == frozen
    calibrate(net, tiny_data()[0])
    before = state(net)
    fit(net, tiny_data(), tiny_data(), RECIPE.model_copy(update={"optimizer": optimizer}), progress=False)
    assert moved(net, before).isdisjoint(frozen)
    assert {"stem.weight", "stem.clip", "linear.weight", "bn.running_mean", "quantizers.stem.clip"} <= moved(
        net, before
    )
    assert {name for name, p in net.named_parameters() if not p.requires_grad} == frozen


def test_a_weight_that_is_a_buffer_does_not_train() -> None:
    class Blur(Tiny):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("kernel", torch.full((4, 1, 3, 3), 1 / 9))

        def forward(self, x: Tensor) -> Tensor:
            kernel = self.get_buffer("kernel")
            out = F.conv2d(torch.relu(self.stem(x)), kernel, padding=1, groups=4)
            logits: Tensor = self.linear(torch.relu(self.bn(self.conv(out))).mean((2, 3)))
            return logits

    net = prepared(Blur())
    assert {name for name, p in net.named_parameters() if not p.requires_grad} == {"kernel.weight", "kernel.clip"}


def test_flags_set_on_the_prepared_network_count_as_well() -> None:
    net = tiny_net()
    net.quantizers.requires_grad_(False)
    calibrate(net, tiny_data()[0])
    before = state(net)
    fit(net, tiny_data(), None, RECIPE, progress=False)
    learned = {f"quantizers.{name}" for name, _ in net.quantizers.named_parameters()}
    assert learned
    assert moved(net, before).isdisjoint(learned)
    net.requires_grad_(False)
    with pytest.raises(RecipeError, match="every parameter is frozen"):
        fit(net, tiny_data(), None, RECIPE, progress=False)


def test_the_controller_alone_leaves_the_flags_as_they_were() -> None:
    model = partly_frozen()
    net = prepare(model, tiny_data()[0][:4], Config.model_validate({"widths": (2, 4, 8), "controller": {"grid": 1}}))
    calibrate(net, tiny_data()[0])
    net.train()
    norm = net.norm("bn")
    assert norm is not None
    norm.eval()
    flags = {name: p.requires_grad for name, p in net.named_parameters()}
    modes = {name: m.training for name, m in net.named_modules()}
    before = state(net)
    recipe = Recipe(learn="controller", epochs=2, batch_size=16, bitops=0.6, measured=1)
    fit_controller(net, tiny_data(), tiny_data(), recipe, progress=False)
    assert {name: p.requires_grad for name, p in net.named_parameters()} == flags
    assert {name: m.training for name, m in net.named_modules()} == modes
    changed = moved(net, before)
    assert changed
    assert all(name.startswith(PREFIXES) for name in changed)


def with_frozen_norm() -> Net:
    """A network in training mode whose norm is frozen, with statistics that are not those of the data."""
    net = tiny_net()
    norm = net.norm("bn")
    assert norm is not None
    norm.set_statistics(torch.linspace(-0.1, 0.1, 6), torch.linspace(0.5, 1.0, 6))
    calibrate(net, tiny_data()[0])
    norm.eval()
    return net


def test_a_norm_in_evaluation_mode_uses_its_statistics_and_keeps_them() -> None:
    net = with_frozen_norm()
    x, y = tiny_data()
    before = state(net)
    torch.autograd.backward(objective(net, x, y).loss)
    running = {name for name in before if "running" in name}
    assert moved(net, before).isdisjoint(running)
    reestimate(net, torch.split(x, 16))
    outputs(net, x)
    measure(net, [x], [])
    calibrate(net, x)
    assert moved(net, before).isdisjoint(running)
    assert net.training
    assert not any(module.training for module in net.modules() if isinstance(module, Norm))
    norm = net.norm("bn")
    assert norm is not None
    z = torch.randn(5, 6, 3, 3)
    assert torch.equal(norm(z, 8, batch_statistics=True), norm(z, 8, batch_statistics=False))
    assert norm.weight.grad is not None, "what is frozen are the statistics; gain and bias learn"


def test_fit_keeps_frozen_norms_and_goes_on_only_with_the_same_ones(tmp_path: Path) -> None:
    net = with_frozen_norm()
    before = state(net)
    fit(net, tiny_data(), tiny_data(), RECIPE, run_dir=tmp_path, progress=False)
    assert not [name for name in moved(net, before) if "running" in name]
    norm = net.norm("bn")
    assert norm is not None
    assert net.training
    assert not norm.training
    norm.train()
    with pytest.raises(CheckpointError, match=r"frozen now than then \(bn, bn.at, bn.at.2\)"):
        fit(net, tiny_data(), tiny_data(), RECIPE, run_dir=tmp_path, resume=True, progress=False)
    norm.eval()
    fit(net, tiny_data(), tiny_data(), RECIPE, run_dir=tmp_path, resume=True, progress=False)


def test_a_norm_that_is_frozen_in_the_model_is_frozen_in_the_network() -> None:
    model = Tiny()
    model.bn.eval()
    net = prepared(model)
    assert net.training
    assert not any(module.training for module in net.modules() if isinstance(module, Norm))
    calibrate(net, tiny_data()[0])
    norm = net.norm("bn")
    assert norm is not None
    assert norm.untouched, "not even the first statistics come from data"
    fit(net, tiny_data(), None, RECIPE, progress=False)
    assert norm.untouched
    whole = prepared(Tiny().eval())
    whole.train()
    assert all(module.training for module in whole.modules()), "a model in evaluation mode says nothing of its norms"


def test_a_tracked_range_in_evaluation_mode_stands_still() -> None:
    net = tiny_net()
    net.quantizers.eval()
    before = state(net)
    torch.autograd.backward(objective(net, 3 * tiny_data()[0], tiny_data()[1]).loss)
    assert not [name for name in moved(net, before) if name.startswith("quantizers")]
