"""The objective: its terms, its gradients, and that its draws depend on (seed, step) alone."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from dqt.arith.cost import chosen_bitops, full_bitops
from dqt.arith.errors import InputError
from dqt.nn.net import Net
from dqt.program.task import Task
from dqt.train.loss import (
    MIXED,
    Objective,
    chosen_share,
    cost_penalty,
    expected_share,
    noise_scale,
    objective,
    passes,
    temperature,
)
from dqt.train.losses import Loss, pass_loss
from dqt.train.recipe import Recipe, RecipeError
from dqt.train.schedule import optimizer_of, parameter_groups, rate, set_rate

from .conftest import tiny_data, tiny_net


def labels(net: Net, recipe: Recipe, step: int = 0) -> list[str]:
    return [each.label for each in passes(net.space, recipe, step)]


@pytest.mark.parametrize(
    ("consistency", "alpha", "plain", "routed"),
    [
        ("all", 1.0, ["8", "4", "2"], ["8", "4", "2", "auto"]),
        ("sandwich", 1.0, ["8", "2", "4"], ["8", "2", "auto"]),
        ("none", 1.0, ["8"], ["auto"]),
        ("all", 0.0, ["8"], ["auto"]),
    ],
)
def test_passes_of_a_step(
    net: Net, routed_net: Net, consistency: str, alpha: float, plain: list[str], routed: list[str]
) -> None:
    recipe = Recipe.model_validate({"consistency": consistency, "alpha": alpha, "draw": "uniform"})
    assert labels(net, recipe) == plain
    assert labels(routed_net, recipe) == routed


def test_the_random_pass_follows_seed_and_step(net: Net) -> None:
    recipe = Recipe(draw="layer")
    plans = [passes(net.space, recipe, step)[2] for step in range(20)]
    assert {each.label for each in plans} == {MIXED}
    assert len({each.plan for each in plans}) > 1
    assert plans == [passes(net.space, recipe, step)[2] for step in range(20)]
    for each in plans:
        assert not isinstance(each.plan, int | None)
        assert {each.plan["stem"], each.plan["linear"]} == {(8, 8)}  # the edges keep their width
    both = {labels(net, Recipe(draw="both"), step)[2] for step in range(30)}
    assert both == {MIXED, "4"}


def test_few_widths_leave_few_passes() -> None:
    assert labels(tiny_net(widths=(8,)), Recipe()) == ["8"]
    assert labels(tiny_net(widths=(4, 8)), Recipe(draw="uniform")) == ["8", "4"]
    assert labels(tiny_net(widths=(4, 8)), Recipe(draw="layer")) == ["8", "4", MIXED]


def gradients(net: Net, recipe: Recipe, *, lean: bool = False) -> tuple[Objective, dict[str, Tensor]]:
    x, y = tiny_data()
    net.zero_grad()
    found = objective(net, x, y, recipe, step=3, total_steps=9, backward=torch.Tensor.backward if lean else None)
    if not lean:
        found.loss.backward()  # type: ignore[no-untyped-call]
    return found, {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}


def test_the_gradient_reaches_weights_clips_norms_and_controller(routed_net: Net) -> None:
    _, found = gradients(routed_net.train(), Recipe(consistency="all", bitops=0.6))
    assert found.keys() == dict(routed_net.named_parameters()).keys()
    for name in ("conv.weight", "conv.clip", "quantizers.stem.clip", "bn.at.2.weight", "controller.logits.weight"):
        assert found[name].abs().sum() > 0, name


def test_cost_alone_moves_the_controller_alone() -> None:
    with_cost = gradients(tiny_net(controller=True).train(), Recipe(alpha=0, beta=5.0, bitops=0.9))[1]
    without = gradients(tiny_net(controller=True).train(), Recipe(alpha=0, beta=0.0, bitops=0.9))[1]
    moved = {name for name in without if not torch.equal(with_cost[name], without[name])}
    assert "controller.logits.weight" in moved
    assert all(name.startswith(("controller.", "stem.", "quantizers.")) for name in moved)  # it reads the stem


@pytest.mark.parametrize("controller", [False, True])
def test_the_lean_form_gives_the_same_loss_and_gradient(controller: bool) -> None:
    whole, grads = gradients(tiny_net(controller=controller).train(), Recipe(consistency="all", bitops=0.6))
    lean, lean_grads = gradients(
        tiny_net(controller=controller).train(), Recipe(consistency="all", bitops=0.6), lean=True
    )
    assert torch.equal(whole.loss, lean.loss)
    assert not lean.loss.requires_grad
    for name, grad in grads.items():
        torch.testing.assert_close(lean_grads[name], grad, msg=name)  # the same sums in another order


def test_alpha_weighs_the_fixed_widths() -> None:
    x, y = tiny_data()
    parts = {}
    for alpha in (0.0, 1.0, 3.0):
        net = tiny_net().eval()
        parts[alpha] = float(objective(net, x, y, Recipe(alpha=alpha, draw="uniform")).loss.detach())
    assert parts[3.0] - parts[0.0] == pytest.approx(3 * (parts[1.0] - parts[0.0]), rel=1e-5)


def test_low_widths_learn_from_the_master(net: Net) -> None:
    x, y = tiny_data()
    low = net.eval()(x, 2)
    teacher = net(x).detach()
    task_loss = Loss(net, Task.classification())
    entropy, logged = pass_loss(task_loss, low, y, None, Recipe())
    assert torch.equal(entropy.detach(), logged)
    same, _ = pass_loss(task_loss, teacher, y, teacher, Recipe(distill=1.0))
    assert float(same.detach()) == pytest.approx(0.0, abs=1e-6)
    t = 3.0
    mixed, _ = pass_loss(task_loss, low, y, teacher, Recipe(distill=0.25, distill_temperature=t))
    p, q = (teacher / t).softmax(1), (low / t).softmax(1)
    divergence = (p * (p / q).log()).sum(1).mean() * t * t
    expected = 0.75 * float(entropy.detach()) + 0.25 * float(divergence.detach())
    assert float(mixed.detach()) == pytest.approx(expected, rel=1e-4)


def test_every_pass_learns_from_a_teacher_that_is_given(net: Net) -> None:
    x, y = tiny_data()
    recipe = Recipe(distill=1.0, consistency="none")
    with torch.no_grad():
        itself = net(x, 8)

    def loss(teacher: Tensor | None) -> float:
        return float(objective(net, x, y, recipe, teacher=teacher).loss.detach())

    assert loss(itself) == pytest.approx(0.0, abs=1e-5)
    assert loss(itself.flip(1)) > 0.1
    assert loss(None) > 0.1  # the master has no teacher of its own: labels alone


def test_the_share_is_what_the_chosen_widths_cost(routed_net: Net) -> None:
    space = routed_net.space
    x, _ = tiny_data(9)
    _, choice = routed_net.eval().route(x)
    share = expected_share(space, choice.soft, choice.widths)
    whole = torch.full((9, len(space.layers)), space.edge_width)
    for i, layer in enumerate(space.layers):
        if layer.name in space.chosen:
            whole[:, i] = choice.widths[:, space.chosen.index(layer.name)]
    counted = chosen_bitops(space, whole.numpy()) / full_bitops(space)
    assert float(share.detach()) == pytest.approx(counted.mean(), rel=1e-6)
    assert chosen_share(space, choice.widths).tolist() == pytest.approx(counted.tolist(), rel=1e-12)
    assert share.requires_grad


def test_the_penalty_pulls_to_the_target_or_keeps_a_limit(routed_net: Net) -> None:
    space = routed_net.space
    for share, target, limit in [(0.75, 0.25, 0.25), (0.25, 0.25, 0.0), (0.5, 0.0, 0.0)]:
        paid = torch.tensor(share)
        assert float(cost_penalty(space, paid, Recipe(bitops=0.5))) == pytest.approx(target)
        assert float(cost_penalty(space, paid, Recipe(bitops=0.5, budget="limit"))) == pytest.approx(limit)
    with pytest.raises(RecipeError, match=r"bitops 0\.01: the controller reaches 0\.\d+ to 1\.0\d+ of the master's"):
        cost_penalty(space, torch.tensor(0.5), Recipe(bitops=0.01))


def test_draws_are_functions_of_seed_and_step() -> None:
    def loss(step: int, seed: int) -> float:
        x, y = tiny_data()
        recipe = Recipe(seed=seed, bitops=0.6)
        net = tiny_net(controller=True).eval()
        return float(objective(net, x, y, recipe, step=step, total_steps=100).loss.detach())

    assert loss(3, 0) == loss(3, 0)
    assert loss(3, 0) != loss(4, 0)
    assert loss(3, 0) != loss(3, 1)


def test_schedules_begin_and_end_where_they_should() -> None:
    recipe = Recipe(gumbel_start=4.0, gumbel_end=0.25, warmup=0.1, settle=0.2)
    assert (temperature(recipe, 0, 11), temperature(recipe, 5, 11), temperature(recipe, 10, 11)) == (4.0, 1.0, 0.25)
    assert temperature(recipe, 99, 11) == 0.25
    assert noise_scale(recipe, 0, 100) == 1.0
    assert noise_scale(recipe, 80, 100) == pytest.approx(0.0, abs=1e-12)
    assert noise_scale(recipe, 99, 100) == 0.0
    rates = [rate(recipe, step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(1 / 11)
    assert max(rates) == rates[10] == 1.0
    assert rates[55] == pytest.approx(0.5)
    assert 0 < rates[99] < 0.001


def test_clips_norms_and_biases_do_not_decay(routed_net: Net) -> None:
    recipe = Recipe(weight_decay=0.1, controller_lr=3.0, lr=0.5)
    names = {id(p): name for name, p in routed_net.named_parameters()}
    seen: dict[str, tuple[float, float]] = {}
    for group in parameter_groups(routed_net, recipe):
        seen |= {names[id(p)]: (group["weight_decay"], group["lr"]) for p in group["params"]}
    assert seen.keys() == set(names.values())
    assert seen["conv.weight"] == (0.1, 0.5)
    for name in ("conv.clip", "quantizers.stem.clip", "bn.weight", "bn.at.2.bias", "linear.bias"):
        assert seen[name] == (0.0, 0.5)
    assert seen["controller.logits.weight"] == (0.1, 1.5)
    assert seen["controller.logits.bias"] == (0.0, 1.5)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_the_rate_is_set_for_every_group(routed_net: Net, name: str) -> None:
    recipe = Recipe.model_validate({"optimizer": name, "lr": 0.2, "controller_lr": 2.0, "warmup": 0.0})
    optimizer = optimizer_of(routed_net, recipe)
    assert set_rate(optimizer, recipe, 50, 100) == pytest.approx(0.1)
    assert {round(group["lr"], 9) for group in optimizer.param_groups} == {0.1, 0.2}


def test_a_plain_loop_learns_without_fit() -> None:
    net, (x, y) = tiny_net(controller=True).train(), tiny_data()
    recipe = Recipe(lr=0.05, bitops=0.5, warmup=0.0)
    optimizer = optimizer_of(net, recipe)
    losses = []
    for step in range(30):
        optimizer.zero_grad()
        found = objective(net, x, y, recipe, step=step, total_steps=30, backward=torch.Tensor.backward)
        optimizer.step()
        losses.append(sum(float(v) for v in found.losses.values()))
    assert all(math.isfinite(v) for v in losses)
    assert losses[-1] < 0.7 * losses[0]


def test_what_is_no_recipe_and_no_teacher_is_one_clear_error(net: Net) -> None:
    x, y = tiny_data()
    with pytest.raises(RecipeError, match="the recipe is an object of type dict"):
        objective(net, x, y, {"lr": 1.0})  # type: ignore[arg-type]
    wrong: list[Any] = [torch.zeros(len(x), 99), torch.zeros(1), net, {"logits": torch.zeros(len(x), 3)}]
    for teacher in wrong:
        with pytest.raises(InputError, match="the teacher gives"):
            objective(net, x, y, teacher=teacher)
