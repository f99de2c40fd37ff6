"""Behind the last layer, what only moves values keeps its int32 outputs: the same in torch, NumPy and the engine."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dqt.lower.emit import lower
from dqt.program.file import dumps
from dqt.program.ops.reshape import Reshape
from dqt.program.ops.slice import Slice
from dqt.program.ops.transpose import Transpose
from dqt.program.program import loads
from dqt.runtime.runtime import Runtime
from dqt.testing.networks import Model, ready, unsettle

Ending = Callable[[Tensor], Tensor]


def dense(ending: Ending) -> nn.Module:
    return Model(lambda m, x: ending(m.head(x)), head=nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 4)))


def image(ending: Ending, *last: nn.Module) -> nn.Module:
    head = nn.Sequential(nn.Conv2d(6, 5, 3, padding=1), nn.ReLU(), *last)
    return Model(lambda m, x: ending(m.head(x)), head=head)


def frames(*last: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv1d(6, 5, 3, padding=1), nn.ReLU(), *last)


def regressor(ending: Ending) -> nn.Module:
    return Model(lambda m, x: ending(m.head(x)), head=nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 1)))


def same(y: Tensor) -> Tensor:
    return y


MODELS: dict[str, tuple[nn.Module, tuple[int, ...], tuple[int, ...]]] = {
    "unsqueeze": (dense(lambda y: y.unsqueeze(1)), (6,), (1, 4)),
    "view": (dense(lambda y: y.view(-1, 2, 2)), (6,), (2, 2)),
    "dropout": (dense(nn.Dropout(0.3)), (6,), (4,)),
    "identity": (dense(nn.Identity()), (6,), (4,)),
    "contiguous": (dense(lambda y: y.unsqueeze(2).contiguous().squeeze(2).detach()), (6,), (4,)),
    "slice": (dense(lambda y: y[:, 1:]), (6,), (3,)),
    "transpose": (image(lambda y: y.permute(0, 2, 3, 1), nn.Conv2d(5, 3, 1)), (6, 4, 5), (4, 5, 3)),
    "every second": (dense(lambda y: y[:, ::2].unsqueeze(2)), (6,), (2, 1)),
    "tokens, cut": (Model(lambda m, x: m.head(x)[:, 1:, ::3].flatten(1), head=nn.Linear(6, 7)), (5, 6), (12,)),
    "convolution, flattened": (image(nn.Flatten(), nn.Conv2d(5, 3, 1)), (6, 4, 5), (60,)),
    "convolution, cut": (image(lambda y: y[:, 1:, :, ::2], nn.Conv2d(5, 3, 1)), (6, 4, 5), (2, 4, 3)),
    "convolution, one channel": (image(lambda y: y.squeeze(1), nn.Conv2d(5, 1, 3)), (6, 4, 5), (2, 3)),
    "norm, flattened": (image(nn.Flatten(), nn.Conv2d(5, 3, 1), nn.BatchNorm2d(3)), (6, 4, 5), (60,)),
    "grouped": (image(nn.Flatten(2), nn.Conv2d(5, 10, 1, groups=5)), (6, 4, 5), (10, 20)),
    "conv1d": (frames(nn.Conv1d(5, 3, 1)), (6, 9), (3, 9)),
    "conv1d, norm": (frames(nn.Conv1d(5, 3, 3, stride=2), nn.BatchNorm1d(3)), (6, 9), (3, 4)),
    "conv1d, dropout, flattened": (frames(nn.Conv1d(5, 3, 1), nn.Dropout1d(0.2), nn.Flatten()), (6, 9), (27,)),
    "number": (regressor(lambda y: y.squeeze(-1)), (6,), ()),
    "number, by view": (regressor(lambda y: y.view(-1)), (6,), ()),
    "number from an image": (image(lambda y: y.flatten(0), nn.Conv2d(5, 1, (4, 5))), (6, 4, 5), ()),
    "relu, one number": (regressor(lambda y: y.relu().squeeze(1)), (6,), ()),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_output_is_the_same_everywhere(name: str) -> None:
    model, shape, out = MODELS[name]
    torch.manual_seed(0)
    unsettle(model)
    net, x = ready(model.eval(), shape)
    program = loads(dumps(lower(net)))
    run = Runtime(program)
    for plan in (None, 2, 5, dict.fromkeys(net.layers, (3, 4))):
        exact = net(x, plan, exact=True)
        assert exact.shape == (6, *out)
        for other in (program(x, plan), run(x, plan)):
            assert other.dtype == np.float32
            np.testing.assert_array_equal(other, exact.numpy())
    assert net(x).shape == model(x).shape == (6, *out)


@pytest.mark.parametrize("name", [name for name in MODELS if "relu" not in name])
def test_the_output_keeps_its_resolution(name: str) -> None:
    """Neither what is behind the last layer nor the shape of its results makes them 8-bit codes."""
    model, shape, _ = MODELS[name]
    net, _ = ready(model.eval(), shape)
    program = lower(net)
    values = {value.name: value for value in program.values}
    moves = [op for op in program.ops if isinstance(op, Reshape | Slice | Transpose)]
    assert not values[program.output].coded
    assert all(values[op.x].coded == values[op.out].coded for op in moves)


def test_training_and_evaluation_drop_in_one_place() -> None:
    net, x = ready(dense(nn.Dropout(0.5)).eval(), (6,))
    torch.manual_seed(0)
    dropped = net.train()(x)
    assert 0 < int((dropped == 0).sum()) < dropped.numel()
    assert not bool((net.eval()(x) == 0).any())
