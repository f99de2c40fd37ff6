"""Several inputs and outputs, int32 outputs and states: what torch computes exactly, the program computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dqt.lower.emit import lower
from dqt.nn.calibrate import calibrate
from dqt.nn.config import Config, Controller
from dqt.nn.net import Net
from dqt.nn.prepare import prepare
from dqt.program.file import dumps
from dqt.program.interpret import interpret
from dqt.program.program import Program, loads
from dqt.runtime.runtime import Runtime
from dqt.testing.networks import unsettle
from tests.nn.test_inputs import Pair, data
from tests.nn.test_states import Streaming, gated, streaming


def served(net: Net, x: Any, plans: tuple[Any, ...] = (None, 2, 5)) -> Program:
    """Equality of every output, by name."""
    program = loads(dumps(lower(net)))
    run = Runtime(program)
    assert [output.name for output in program.outputs] == [output.name for output in net.signature.shown]
    for plan in plans:
        expected = net.tensors(x, plan, exact=True)
        for found in (interpret(program, x, plan), run(x, plan)):
            by_name = found if isinstance(found, dict) else {program.outputs[0].name: found}
            for output, y in zip(net.outputs, expected, strict=True):
                np.testing.assert_array_equal(by_name[output.name], y.numpy())
    return program


def calibrated(model: nn.Module, x: Any, **options: Any) -> Net:
    torch.manual_seed(1)
    unsettle(model)
    return calibrate(prepare(model.eval(), x, Config(**options)).eval(), [x])


GIVES: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "scores": lambda y, _: y,
    "by name": lambda y, f: {"scores": y, "features": f},
    "nested": lambda y, f: (y, [f, {"again": y, "none": None}]),
    "taps and views": lambda y, f: (f[:, None], f, y.relu(), F.softplus(f)),
}


@pytest.mark.parametrize("name", GIVES)
@pytest.mark.parametrize("controller", [None, Controller()])
def test_two_inputs(name: str, controller: Controller | None) -> None:
    image, features = data()
    net = calibrated(Pair(GIVES[name]), (image, features), controller=controller)
    plans = (None, 2, 5, dict.fromkeys(net.layers, (3, 4)), *(["auto"] if controller else []))
    served(net, {"image": image, "features": features}, plans)


def test_integers_as_inputs() -> None:
    class Counts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(6, 3)

        def forward(self, counts: Tensor, mask: Tensor) -> Tensor:
            y: Tensor = self.fc(counts.float()) * mask[:, :3].float()
            return y

    rng = torch.Generator().manual_seed(0)
    counts = torch.randint(-900, 900, (8, 6), generator=rng)
    x = {"counts": counts, "mask": torch.rand(8, 4, generator=rng) < 0.5}
    served(calibrated(Counts(), x), x)


def test_an_output_that_is_an_input() -> None:
    class Same(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(5, 3)

        def forward(self, features: Tensor) -> Any:
            return features, self.fc(features), features[:, 1:]

    x = data()[1]
    served(calibrated(Same(), x), x)


@pytest.mark.parametrize("make", [streaming, gated])
def test_states_go_round(make: Callable[[], tuple[Net, Tensor, Tensor]]) -> None:
    """The state that a run leaves is, dequantized, the output that the network gives and takes again."""
    net, x, before = make()
    program = loads(dumps(lower(net)))
    (state,), (one,) = program.states, program.inputs
    for plan in (None, 3):
        held, start = None, torch.zeros_like(before)
        session = Runtime(program).session(len(x))
        for frame in (x, 2 * x, x.flip(0), -x):
            y, held = interpret(program, frame, plan, held)
            np.testing.assert_array_equal(session(frame, plan), y)
            shown, after = net.tensors({one.name: frame, state.name: start}, plan, exact=True)
            np.testing.assert_array_equal(y, shown.numpy())
            real = (held[state.name] - state.zero).astype(np.float32) * np.float32(state.scale)
            np.testing.assert_array_equal(real, after.numpy())
            start = after


def test_a_stream_is_the_whole() -> None:
    """Frames that come a few at a time give what they give at once."""
    net, _, _ = streaming()
    whole = torch.randn(2, 3, 15, generator=torch.Generator().manual_seed(2))
    program, held, parts = lower(net), None, []
    for frames in torch.split(whole, 5, 2):
        y, held = interpret(program, frames, 4, held)
        parts.append(y)
    once = prepare(Streaming().eval(), (whole, torch.zeros(2, 3, 3)), state={"past": "1"}).eval()
    once.load_state_dict(net.state_dict())
    at_once = once.tensors((whole, torch.zeros(2, 3, 3)), 4, exact=True)[0]
    np.testing.assert_array_equal(np.concatenate(parts, 2), at_once.numpy())
