"""The objective as one module: the same numbers as the function, and a teacher that is no part of it."""

from __future__ import annotations

import torch

from dqt.nn.net import Net
from dqt.train.loss import objective
from dqt.train.recipe import Recipe
from dqt.train.whole import Batch, Place, Whole

from .conftest import Tiny, tiny_data

RECIPE = Recipe(teacher="float", bitops=0.6)


def test_it_gives_what_the_objective_gives(routed_net: Net) -> None:
    x, y = tiny_data()
    routed_net.eval()  # in training mode the first pass would move the tracked ranges
    teacher = Tiny().eval()
    with torch.no_grad():
        soft = teacher(x)
    expected = objective(routed_net, x, y, RECIPE, step=3, total_steps=9, rank=1, teacher=soft)
    loss, losses, share, widths = Whole(routed_net, RECIPE, teacher)(Batch(x, y), Place(3, 9, 1), None)
    assert torch.equal(loss, expected.loss)
    assert losses.keys() == expected.losses.keys()
    assert all(torch.equal(losses[name], value) for name, value in expected.losses.items())
    assert share is not None
    assert expected.share is not None
    assert widths is not None
    assert expected.widths is not None
    assert torch.equal(share, expected.share)
    assert torch.equal(widths, expected.widths)


def test_the_teacher_is_not_trained(net: Net) -> None:
    whole = Whole(net, RECIPE, Tiny())
    assert {name for name, _ in whole.named_parameters()} == {f"net.{name}" for name, _ in net.named_parameters()}
