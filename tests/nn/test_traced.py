"""Models that are graphs already become the same network as the module that they are of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import dqt
from dqt.train.models import digits_cnn


def exported(model: nn.Module, x: Tensor) -> nn.Module:
    batch = torch.export.Dim("batch", min=2)
    return torch.export.export(model, (x,), dynamic_shapes=({0: batch},)).module()


@pytest.mark.parametrize("graph", [lambda model, _: torch.fx.symbolic_trace(model), exported])
def test_a_graph_is_prepared_as_its_module(graph: Callable[[nn.Module, Tensor], Any]) -> None:
    model, x = digits_cnn(planes=(4, 8, 8)).eval(), torch.randn(4, 1, 8, 8)
    config = dqt.Config(widths=(2, 8))
    net, plain = (dqt.calibrate(dqt.prepare(m, x, config), [x]) for m in (graph(model, x), model))
    assert net.layers == plain.layers
    assert not net.training
    assert torch.equal(net(x, 2, exact=True), plain(x, 2, exact=True))
    names = dict(net.named_parameters())
    assert {name for name, _ in model.named_parameters()} <= names.keys()


def test_an_exported_program_of_one_batch_size_says_so() -> None:
    model, x = digits_cnn(planes=(4, 8, 8)).eval(), torch.randn(4, 1, 8, 8)
    with pytest.raises(dqt.UnsupportedError, match="does not accept every batch size"):
        dqt.prepare(torch.export.export(model, (x,)).module(), x)
