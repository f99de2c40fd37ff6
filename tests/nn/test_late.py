"""Controllers that decide late: where they stand, what they read, and that all forms of the network agree."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

import dqt
from dqt.nn.calibrate import set_controller_ranges
from dqt.nn.controller import LOGITS
from dqt.nn.controller_alone import controller_features
from dqt.nn.exact import run_exact
from dqt.nn.net import Net
from dqt.program.evaluate import evaluate, evaluate_widths
from dqt.program.interpret import execute
from dqt.program.ops.choose_late import ChooseLate
from dqt.train.gains import choice_plans, fit_controller
from dqt.train.loss import chosen_share, share_table
from dqt.train.recipe import Recipe
from dqt.train.settle import settle
from tests.train.conftest import Tiny, tiny_data

WIDTHS = (2, 4, 8)
KINDS: dict[str, dict[str, Any]] = {
    "again": {"rerun": True},
    "again, by both": {"rerun": True, "after": "layer1"},
    "again, by features": {"rerun": True, "after": "layer1", "reads": ("features",)},
    "inside": {"after": "layer1", "first": 4},
}


class Stages(nn.Module):
    """A stem, two stages and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.layer1, self.layer2 = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3), nn.Conv2d(4, 8, 3)
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        for layer in (self.stem, self.layer1, self.layer2):
            x = layer(x).relu()
        y: Tensor = self.fc(x.mean((2, 3)))
        return y


class Twice(Stages):
    """The same with a second classifier behind the first stage."""

    def __init__(self) -> None:
        super().__init__()
        self.second = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        x = self.layer1(self.stem(x).relu()).relu()
        return self.fc(self.layer2(x).relu().mean((2, 3))), self.second(x.mean((2, 3)))


def late_net(kind: str, seed: int = 0) -> tuple[Net, Tensor]:
    """A calibrated network whose controller is of several minds about the samples."""
    torch.manual_seed(seed)
    x = torch.randn(24, 3, 8, 8) * torch.linspace(0.1, 3, 24).view(-1, 1, 1, 1)  # at 2 bits noise alone looks all alike
    net = dqt.prepare(
        Stages().eval(), x, dqt.Config(widths=WIDTHS, controller=dqt.Controller(hidden=16, **KINDS[kind]))
    )
    dqt.calibrate(net, [x])
    set_controller_ranges(net, [x])
    _mind(net, x)
    return net, x


def _mind(net: Net, x: Tensor) -> None:
    """Let every choice be the best for some of the samples."""
    bias = net.layer(LOGITS).bias
    assert bias is not None
    program = dqt.lower(net)
    choice = program.choose
    assert choice is not None
    logits = execute(program, x.numpy(), "auto", keep=True).values[choice.x]
    (value,) = (each for each in program.values if each.name == choice.x)
    with torch.no_grad():
        bias.sub_(torch.from_numpy(np.median(logits, 0) * value.scale).float())


@pytest.mark.parametrize("kind", KINDS)
def test_all_forms_agree(kind: str) -> None:
    net, x = late_net(kind)
    program = dqt.lower(net)
    result = execute(program, x.numpy(), "auto")
    assert len(np.unique(result.widths, axis=0)) > 1
    outputs, choice = net.route(x, exact=True)
    np.testing.assert_array_equal(outputs.numpy(), dqt.interpret(program, x.numpy(), "auto"))
    columns = [program.layers.index(name) for name in choice.layers]
    np.testing.assert_array_equal(choice.widths.numpy(), result.widths[:, columns])
    with torch.no_grad():  # the differentiable form rounds almost as the integers do
        fake, soft = net.route(x)
    assert (soft.widths == choice.widths).float().mean() > 0.9
    same = (soft.widths == choice.widths).all(1)
    assert torch.allclose(fake[same], outputs[same], atol=0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_the_share_counts_what_the_program_pays(kind: str) -> None:
    net, x = late_net(kind)
    program = dqt.lower(net)
    found = evaluate(program, x.numpy(), "auto")
    np.testing.assert_array_equal(evaluate_widths(program, x.numpy(), found.widths).bitops, found.bitops)
    _, choice = net.route(x, exact=True)
    assert float(chosen_share(net.space, choice.widths, net.late).mean()) == pytest.approx(found.share, rel=1e-12)


def test_the_choice_is_differentiable() -> None:
    for kind in KINDS:
        net, x = late_net(kind)
        net.train()
        noise = torch.zeros(len(x), len(net.space.chosen), len(WIDTHS))
        y, choice = net.route(x, 1.0, noise)
        torch.autograd.backward(y.square().sum())
        gradient = net.layer(LOGITS).weight.grad
        assert gradient is not None
        assert float(gradient.abs().sum()) > 0, kind
        assert choice.soft.shape == (len(x), len(choice.layers), len(WIDTHS))


def test_where_it_stands() -> None:
    net, _ = late_net("inside")
    ops = dqt.lower(net).ops
    (place,) = (i for i, op in enumerate(ops) if isinstance(op, ChooseLate))
    layers = [getattr(op, "layer", "") for op in ops]
    assert layers.index("layer1") < place < layers.index("layer2")
    choice = ops[place]
    assert isinstance(choice, ChooseLate)
    assert choice.layers == ("layer2",)
    plans = [plan for plan in choice_plans(net) if isinstance(plan, dqt.Plan)]
    assert [(plan["layer1"], plan["layer2"]) for plan in plans] == [((4, 4), (b, b)) for b in WIDTHS]


def test_it_reads_the_margin_of_a_classifier_inside() -> None:
    torch.manual_seed(0)
    x = torch.randn(24, 3, 8, 8) * torch.linspace(0.1, 3, 24).view(-1, 1, 1, 1)
    controller = dqt.Controller(hidden=16, after="second", reads=("margin",), margins=2, first=4)
    net = dqt.prepare(Twice().eval(), x, dqt.Config(widths=WIDTHS, controller=controller))
    dqt.calibrate(net, [x])
    set_controller_ranges(net, [x])
    _mind(net, x)
    program = dqt.lower(net)
    found = execute(program, x.numpy(), "auto")
    assert len(np.unique(found.widths, axis=0)) > 1
    assert isinstance(found.codes, dict)
    served = dqt.Runtime(program).execute(x.numpy(), "auto")
    for (name, codes), exact in zip(found.codes.items(), run_exact(net, x, "auto").integers, strict=True):
        np.testing.assert_array_equal(served.codes[name], codes)
        np.testing.assert_array_equal(exact.numpy(), codes)
    np.testing.assert_array_equal(served.widths, found.widths)
    assert set(found.widths[:, program.layers.index("layer1")].tolist()) == {4}  # it runs before the decision


def test_it_is_held_to_its_budget() -> None:
    net, x = late_net("again")
    table, fixed = share_table(net.space, net.late)
    least, most = float(table[:, 0].sum()) + fixed, float(table[:, -1].sum()) + fixed
    for budget in (0.9 * least + 0.1 * most, 0.7 * least + 0.3 * most):
        settle(net, controller_features(net, x), Recipe(bitops=budget))
        _, choice = net.route(x, exact=True)
        paid = float(chosen_share(net.space, choice.widths, net.late).mean())
        assert least < paid <= budget * 1.05


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reads": ("margin",)}, "needs a late decision"),
        ({"first": 2}, "first 2 is of a late decision"),
        ({"rerun": True, "reads": "stem"}, "a late decision reads 'features', 'margin'"),
        ({"rerun": True, "reads": ("features",)}, "name the module that they come from"),
    ],
)
def test_options_that_do_not_fit(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        dqt.Controller(**options)


def test_a_module_that_is_not_there() -> None:
    x = torch.randn(2, 3, 8, 8)
    for after, reads, message in (
        ("layer9", "features", "is no module of the model: it has fc, layer1"),
        ("fc", "features", r"int32: set reads=\('margin',\)"),
        ("fc", "margin", "nothing to choose"),
        ("layer1", "margin", r"the margin of .* of shape \[4, 6, 6\]"),
    ):
        with pytest.raises(dqt.UnsupportedError, match=message):
            dqt.prepare(
                Stages(), x, dqt.Config(controller=dqt.Controller.model_validate({"after": after, "reads": (reads,)}))
            )
    with pytest.raises(ValidationError, match="it is the least of the choices, 2"):
        dqt.Config(controller=dqt.Controller(rerun=True, first=8))


def test_it_learns_alone() -> None:
    data, valid = tiny_data(), tiny_data(seed=2)
    torch.manual_seed(1)
    config = dqt.Config(widths=(2, 4, 8), controller=dqt.Controller(rerun=True))
    net = dqt.prepare(Tiny().eval(), data[0], config)
    recipe = Recipe(learn="controller", epochs=3, batch_size=24, lr=0.02, bitops=0.6)
    history = fit_controller(net, data, valid, recipe, progress=False)
    assert history.accuracy["auto_share"] <= 0.6 * 1.05
