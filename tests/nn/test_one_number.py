"""One number a sample, ``[N]``, such as a time step or a label: given, computed inside, and returned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import dqt

Function = Callable[[Any, Tensor, Tensor], Any]


class Numbered(nn.Module):
    """Rows ``[N, 8]`` and one number for each, as ``function`` joins them."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body, self.head, self.rows = nn.Linear(8, 8), nn.Linear(8, 4), nn.Embedding(50, 8)
        self.function = function

    def forward(self, x: Tensor, t: Tensor) -> Any:
        return self.function(self, x, t)


def given(*, whole: bool) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(1)
    x = torch.randn(5, 8, generator=rng)
    return x, torch.randint(1, 50, (5,), generator=rng) if whole else torch.rand(5, generator=rng)


FLOATS: dict[str, Function] = {
    "as it is": lambda m, x, t: m.head(m.body(x) * t[:, None]),
    "affine": lambda m, x, t: m.head(m.body(x) + (t * 0.5 + 1)[:, None]),
    "quotient": lambda m, x, t: m.head(m.body(x) / (t + 1).unsqueeze(1)),
    "mean": lambda m, x, t: m.head(m.body(x) * m.body(x).mean(1).sigmoid()[:, None] + t[:, None]),
    "two": lambda m, x, t: m.head(m.body(x) * (m.body(x).amax(1) + t)[:, None]),
    "table": lambda m, x, t: m.head(m.body(x) * (m.body(x).mean(1) * t).tanh().clamp(-0.5, 0.5)[:, None]),
    "joined": lambda m, x, t: m.head(torch.cat([m.body(x)[:, :7], t[:, None]], 1)),
    "stacked": lambda m, x, t: m.head(torch.cat([m.body(x)[:, :6], torch.stack([t, t * 2], 1)], 1)),
    "part": lambda m, x, t: m.head(m.body(x) * m.body(x)[:, 2].sigmoid()[:, None]) + t[:, None],
    "returned": lambda m, x, t: (m.head(m.body(x)).mean(1) * t, m.head(x)),
}
WHOLE: dict[str, Function] = {
    "label": lambda m, x, t: m.head((m.body(x) + m.rows(t)).relu()),
    "time": lambda m, x, t: m.head((m.body(x) + (t.float() * 0.1).sin()[:, None]).relu()),
}


def outputs(result: Any) -> list[np.ndarray[Any, Any]]:
    each = result.values() if isinstance(result, dict) else result if isinstance(result, tuple) else [result]
    return [np.asarray(y.detach() if isinstance(y, Tensor) else y) for y in each]


@pytest.mark.parametrize("name", [*FLOATS, *WHOLE])
def test_one_number_a_sample(name: str) -> None:
    x, t = given(whole=name in WHOLE)
    model = Numbered((FLOATS | WHOLE)[name]).eval()
    net = dqt.prepare(model, (x, t), dqt.Config(widths=(4, 8))).eval()
    dqt.calibrate(net, [(x, t)])
    program = dqt.lower(net)
    arrays = x.numpy(), t.numpy()
    run = dqt.Runtime(program, threads=1)
    for bits in (8, 4):
        normative = outputs(dqt.interpret(program, arrays, bits))
        for other in (run(arrays, bits), net((x, t), bits, exact=True), run((arrays[0], arrays[1][:, None]), bits)):
            for one, two in zip(normative, outputs(other), strict=True):
                np.testing.assert_array_equal(one, two)
    expected = outputs(model(x, t))
    for got, want in zip(outputs(net((x, t))), expected, strict=True):
        assert got.shape == want.shape
        assert float((got * want).sum() / np.linalg.norm(got) / np.linalg.norm(want)) > 0.97


def test_other_shapes_are_refused() -> None:
    x, t = given(whole=False)
    net = dqt.prepare(Numbered(FLOATS["affine"]).eval(), (x, t)).eval()
    with pytest.raises(dqt.InputError, match=r"input 't' of shape \(5, 2\): this network takes \(N, 1\)"):
        net((x, torch.rand(5, 2)))
    with pytest.raises(dqt.InputError, match="different numbers of samples"):
        net((x, t[:3]))
    with pytest.raises(dqt.UnsupportedError, match=r"of shape \(\) have no batch dimension"):
        dqt.prepare(Numbered(FLOATS["affine"]), (x, t[0]))
