"""Mixed precision computes products in less; the quantizers read and give float32, the input's the served values."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

from dqt.nn import fake
from dqt.nn.calibrate import calibrate
from dqt.nn.graph import INPUT
from dqt.nn.net import Net
from dqt.train import feed
from dqt.train.fit import fit
from dqt.train.loss import objective
from dqt.train.recipe import Recipe

from .conftest import tiny_data, tiny_net

HALVES = [torch.bfloat16, torch.float16]


@contextmanager
def inputs_read() -> Iterator[list[tuple[Tensor, Tensor]]]:
    """What the input's quantizer reads and gives, at the master width, of every pass inside the block."""
    seen: list[tuple[Tensor, Tensor]] = []
    read = Net.read

    def watched(self: Net, x: Tensor, run: Any) -> Any:
        signals = read(self, x, run)
        seen.append((signals[INPUT].raw.detach(), signals[INPUT].codes(8).detach()))
        return signals

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Net, "read", watched)
        yield seen


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
def test_fit_quantizes_the_inputs_that_are_served(precision: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = tiny_data()
    net = calibrate(tiny_net(), x)
    monkeypatch.setattr(feed, "permutation", lambda count, *_: torch.arange(count))
    if precision == "16-mixed":  # torch's own loss scaler for float16 works on a GPU alone; Fabric refuses without it
        monkeypatch.setattr("lightning_fabric.connector._Connector._check_and_init_precision", half_on_a_processor)
    recipe = Recipe(epochs=1, batch_size=48, precision=precision, accelerator="cpu", reestimate_batches=0)
    with inputs_read() as seen:
        fit(net, (x, y), None, recipe, progress=False)
    assert len(seen) == 3
    for raw, codes in seen:
        assert raw.dtype == codes.dtype == torch.float32
        assert torch.equal(raw, x)
    assert all(torch.isfinite(p).all() for p in net.parameters())


def half_on_a_processor(_: object) -> object:
    from lightning_fabric.plugins.precision.amp import MixedPrecision

    return MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", enabled=False))


@pytest.mark.parametrize("dtype", HALVES)
def test_a_loop_of_the_users_own_quantizes_in_float32(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = tiny_data()
    net = calibrate(tiny_net(), x)
    with inputs_read() as plain:
        net.eval()(x, 8)
    net.train()
    net.quantizer_of(INPUT).eval()  # its range stands still, so that the codes can be compared
    kinds: set[torch.dtype] = set()
    narrow = fake.narrow_activation

    def watched(x: Tensor, step: Tensor, *arguments: int, real: bool = False) -> Tensor:
        y = narrow(x, step, *arguments, real=real)
        kinds.update((y.dtype, step.dtype))
        return y

    monkeypatch.setattr(fake, "narrow_activation", watched)
    with inputs_read() as seen, torch.autocast("cpu", dtype):
        objective(net, x, y, backward=torch.Tensor.backward)
    assert kinds == {torch.float32}
    for raw, codes in seen:
        assert torch.equal(raw, x)
        assert torch.equal(codes, plain[0][1])
    gradients = {name: p.grad for name, p in net.named_parameters()}
    assert all(g is not None and g.dtype == torch.float32 for g in gradients.values())
