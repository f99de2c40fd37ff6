"""States: an input that is an output of the run before, with one quantizer for both."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dqt.nn.calibrate import calibrate
from dqt.nn.config import Config
from dqt.nn.errors import UnsupportedError
from dqt.nn.net import Net
from dqt.nn.prepare import prepare
from dqt.nn.run import Run


class Streaming(nn.Module):
    """A causal convolution that is given a few frames at a time, and those before them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv1d(3, 6, 4), nn.Conv1d(6, 2, 1)

    def forward(self, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        whole = torch.cat([past, x], 2)
        return self.head(self.conv(whole).relu()), whole[:, :, -3:]


class GatedCell(nn.Module):
    """A gated recurrent unit of plain operators."""

    def __init__(self, size: int = 5, hidden: int = 8) -> None:
        super().__init__()
        self.gates, self.new, self.old = (
            nn.Linear(size + hidden, 2 * hidden), nn.Linear(size, hidden), nn.Linear(hidden, hidden),
        )  # fmt: skip
        self.out = nn.Linear(hidden, 3)

    def forward(self, x: Tensor, hidden: Tensor) -> dict[str, Tensor]:
        keep, reset = torch.sigmoid(self.gates(torch.cat([x, hidden], 1))).chunk(2, 1)
        fresh = torch.tanh(self.new(x) + reset * self.old(hidden))
        after = keep * hidden + (1 - keep) * fresh
        return {"y": self.out(after), "hidden": after}


def streaming() -> tuple[Net, Tensor, Tensor]:
    torch.manual_seed(0)
    x, past = torch.randn(8, 3, 5), torch.randn(8, 3, 3)
    net = prepare(Streaming().eval(), (x, past), state={"past": "1"}).eval()
    return calibrate(net, [(x, past)]), x, past


def gated() -> tuple[Net, Tensor, Tensor]:
    torch.manual_seed(0)
    x, hidden = torch.randn(16, 5), torch.tanh(torch.randn(16, 8))
    net = prepare(GatedCell().eval(), {"x": x, "hidden": hidden}, state={"hidden": "hidden"}).eval()
    return calibrate(net, [{"x": x, "hidden": hidden}]), x, hidden


def test_a_state_is_an_input_and_an_output_that_share_a_quantizer() -> None:
    for net, x, before in (streaming(), gated()):
        name = net.inputs.names[1]
        assert name not in net.quantizers
        assert net.quantizer_of(name) is net.quantizer_of(net.signature.kept[name])
        assert [output.name for output in net.signature.shown] == [net.outputs[0].name]
        with torch.no_grad():
            y, after = net.run((x, before), Run({}, quantized=False), False)
            again = net.tensors((x, after))
            error = (net.tensors((x, before))[1] - after).abs().max() / after.abs().max()
        assert again[1].shape == before.shape
        assert len(y) == len(x)
        assert error.item() < 0.1


def test_a_state_trains() -> None:
    net, x, hidden = gated()
    net.train()
    for _ in range(3):  # through time
        found = net({"x": x, "hidden": hidden}, 4)
        hidden = found["hidden"]
    found["y"].square().sum().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())


def test_its_range_covers_what_is_given_and_what_is_made() -> None:
    net, x, past = streaming()
    calibrate(net, [(x, 9 * past)], observer="max")
    assert float(net.quantizer_of("past").clip) == float(9 * past.abs().max())
    calibrate(net, [(9 * x, past)], observer="max")
    assert float(net.quantizer_of("past").clip) == float(9 * x.abs().max())


class Around(nn.Module):
    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function, self.fc = function, nn.Linear(4, 4)

    def forward(self, x: Tensor, h: Tensor, g: Tensor) -> Any:
        return self.function(self.fc, x, h, g)


OWNERS: dict[str, tuple[Any, dict[str, str], tuple[str, str]]] = {
    "a delay line": (lambda fc, x, h, g: (fc(x) + h + g, x, h), {"h": "1", "g": "2"}, ("x", "x")),
    "in another order": (lambda fc, x, h, g: (fc(x) + h + g, x, h), {"g": "2", "h": "1"}, ("x", "x")),
    "unchanged": (lambda fc, x, h, g: (fc(x) + h, h, g), {"h": "1", "g": "2"}, ("h", "g")),
    "exchanged": (lambda fc, x, h, g: (fc(x) + h, g, h), {"h": "1", "g": "2"}, ("g", "g")),
    "of one value": (lambda fc, x, h, g: (x + h + g, fc(x).relu()), {"h": "1", "g": "1"}, ("fc", "fc")),
    "an output, too": (lambda fc, x, h, g: (fc(x) + h + g,) * 2, {"h": "1"}, ("add_1.codes", "g")),
}


@pytest.mark.parametrize("case", OWNERS)
def test_whose_quantizer_it_is(case: str) -> None:
    function, state, owners = OWNERS[case]
    x = torch.randn(4, 4)
    net = prepare(Around(function).eval(), (x, x, x), state=state).eval()
    assert (net.owners["h"], net.owners["g"]) == owners
    assert all(output.shape == (4, 4) for output in net.tensors((x, x, x), 4))


def test_a_state_that_is_never_negative_has_all_codes() -> None:
    def forward(fc: Any, x: Tensor, h: Tensor, g: Tensor) -> Any:
        return fc(x + g), h * torch.sigmoid(x) + torch.sigmoid(g)

    x = torch.rand(4, 4)
    net = prepare(Around(forward).eval(), (x, x, x), Config(input_signed=False), state={"h": "1"})
    assert net.quantizer_of("h").zero == 0


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"p": "1"}, r"state names the input 'p': the model takes 'x', 'past'"),
        ({"past": "frames"}, r"state 'past' is to become the output 'frames': the model gives '0', '1'"),
        ({"past": "0"}, r"state 'past' of shape \(3, 3\) would become one of \(2, 5\)"),
        ({"x": "0", "past": "1"}, "every output of the model is to become a state"),
    ],
)
def test_states_that_cannot_be(state: dict[str, str], message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        prepare(Streaming().eval(), (torch.randn(2, 3, 5), torch.randn(2, 3, 3)), state=state)
