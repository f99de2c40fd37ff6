"""Adaptive rounding: codes that are good at every width, and the calibration that uses them."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dqt.arith import nested
from dqt.lower.emit import lower
from dqt.nn import refine
from dqt.nn.adaptive import HARMLESS, Problem, adapted, nearest_codes
from dqt.nn.calibrate import Method, calibrate
from dqt.nn.config import Config
from dqt.nn.errors import CalibrationError
from dqt.nn.layers import Conv, Linear
from dqt.nn.prepare import prepare
from dqt.nn.receptive import patches, positions
from dqt.testing.networks import small

WIDTHS = (2, 3, 8)


def _cov(a: Tensor, b: Tensor) -> Tensor:
    return ((a - a.mean(0)).T @ (b - b.mean(0)) / len(a))[None]


def data(inputs: int, out: int, widths: tuple[int, ...]) -> tuple[Tensor, list[Tensor], Tensor]:
    """Weights, correlated inputs as every width disturbs them in its own way, and the float layer's outputs."""
    generator = torch.Generator().manual_seed(inputs)
    x, mixed = (torch.randn(rows, inputs, generator=generator).double() for rows in (500, inputs))
    x = x @ mixed
    noisy = [x + 0.2 * 2.0**-b * x.std() * torch.randn(x.shape, generator=generator).double() for b in widths]
    weight = torch.randn(1, out, inputs, generator=generator).double()
    return weight, noisy, x @ weight[0].T


def problem(inputs: int, out: int = 3, n: int = 8, widths: tuple[int, ...] = WIDTHS) -> Problem:
    """Rows that read those inputs."""
    weight, noisy, y = data(inputs, out, widths)
    q = np.arange(-(1 << (n - 1)), 1 << (n - 1))
    levels = [torch.from_numpy(nested.narrow_weight(q, n, b, 0)).double() for b in widths]
    middles = [torch.from_numpy(nested.midpoints(n, b, inputs)).double() for b in widths]
    scale = weight.abs().amax(2) / ((1 << n) / 2)
    own, targets = torch.stack([_cov(x, x) for x in noisy]), torch.stack([_cov(y, x) for x in noisy])
    energy = y.var(0, correction=0)[None]
    return Problem(weight, scale, own, targets, energy, torch.stack(levels), torch.stack(middles), -(1 << (n - 1)))


def errors(p: Problem, q: Tensor) -> Tensor:
    """Of every width, over the energy."""
    return p.fit(p.narrowed(q)).errors.sum((1, 2)) / p.energy.sum()


def errors_with(p: Problem, t: Tensor, factors: Tensor) -> Tensor:
    """Of codes ``t`` with any factors, ``[widths, groups, out]``."""
    a = factors[..., None] * t
    return ((a @ p.own) * a - 2 * a * p.targets).sum(-1) + p.energy


def test_errors_are_those_of_the_outputs() -> None:
    p, (_, noisy, y) = problem(4), data(4, 3, WIDTHS)
    t = p.narrowed(nearest_codes(p))
    found = p.fit(t)
    outputs = [x @ (a[..., None] * codes)[0].T for x, a, codes in zip(noisy, found.factors, t, strict=True)]
    direct = torch.stack([(y - each).var(0, correction=0)[None] for each in outputs])
    torch.testing.assert_close(found.errors, direct)
    torch.testing.assert_close(found.products, t @ p.own)
    for other in (0.9, 1.1):  # the factor is the best one
        assert (errors_with(p, t, other * found.factors) > found.errors).all()


def test_adapted_codes_leave_less_error_at_low_widths_and_little_at_8_bits() -> None:
    p = problem(24, out=16)
    before, after = errors(p, nearest_codes(p)), errors(p, adapted(p))
    assert after[0] < 0.75 * before[0]
    assert after[1] < 0.8 * before[1]
    assert after[2] < 0.5 * HARMLESS


def test_no_single_code_is_better() -> None:
    """At the end of the descent, against every code of every place, for the weights of its last sweep."""
    p = problem(3, out=2, n=4, widths=(2, 4))
    q = adapted(p, sweeps=50)
    found = p.fit(p.narrowed(q))
    weights = 1 / (found.errors.sum((1, 2)) / p.energy.sum() + HARMLESS)

    def cost(codes: Tensor) -> Tensor:
        return (weights[:, None, None] * errors_with(p, p.narrowed(codes), found.factors)).sum()

    for row, column, code in product(range(2), range(3), range(-8, 8)):
        other = q.clone()
        other[0, row, column] = code
        assert cost(other) >= cost(q) - 1e-9 * cost(q).abs()


@pytest.mark.parametrize(
    ("padding", "stride", "dilation", "groups", "dims"),
    [((1, 1, 1, 1), 1, 1, 1, 2), ((0, 1, 2, 0), 2, 1, 2, 2), ((2, 2, 2, 2), 1, 2, 4, 2), ((1, 1), 2, 1, 2, 1)],
)
def test_patches_times_weights_are_the_layer(
    padding: tuple[int, ...], stride: int, dilation: int, groups: int, dims: int
) -> None:
    weight = torch.randn(8, 4 // groups, *(3,) * dims)
    sizes: dict[str, Any] = {"stride": (stride,) * dims, "dilation": (dilation,) * dims}
    layer = Conv("x", weight, None, 8, (8,), "learned", padding=padding, groups=groups, **sizes)
    x = torch.randn(3, 4, *(9, 7)[:dims])
    y = layer.apply_weight(x, layer.weight, None).detach()
    rows = patches(layer, x, None)
    made = rows @ layer.weight.detach().flatten(1).reshape(groups, -1, rows.shape[-1]).transpose(1, 2)
    count = positions(layer, x)
    assert y[0, 0].numel() == count
    expected = y.flatten(2).reshape(3, groups, -1, count).permute(1, 0, 3, 2).reshape(made.shape)
    torch.testing.assert_close(made, expected, rtol=1e-4, atol=1e-5)
    some = torch.tensor([count - 1, 0])
    torch.testing.assert_close(patches(layer, x, some)[:, :2], rows.reshape(groups, 3, count, -1)[:, 0, some])


def test_patches_of_a_linear_layer() -> None:
    layer = Linear("x", torch.randn(5, 6), None, 8, (8,), "learned")
    x = torch.randn(2, 3, 4, 6)
    assert torch.equal(patches(layer, x, None), x.reshape(1, 24, 6))
    assert positions(layer, x) == 12


@pytest.fixture(autouse=True)
def _few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """The refinement has tests of its own."""
    monkeypatch.setattr(refine, "MOST_STEPS", 4)


def test_the_best_calibration_is_nearer_to_the_float_network() -> None:
    x = torch.randn(64, 3, 8, 8, generator=torch.Generator().manual_seed(4))
    model = small(1).eval()
    with torch.no_grad():
        y = model(x)
    lost: dict[str, dict[int, float]] = {}
    methods: tuple[Method, ...] = ("fast", "best")
    for method in methods:
        net = calibrate(prepare(model, x[:2]).eval(), torch.split(x, 16), method=method, ranges="per_width")
        with torch.no_grad():
            lost[method] = {b: float(F.mse_loss(net(x, b), y)) for b in (2, 3, 4, 8)}
            for b in (2, 5, 8):
                np.testing.assert_array_equal(lower(net)(x, b), net(x, b, exact=True).numpy())
    assert lost["best"][2] < 0.8 * lost["fast"][2]
    assert lost["best"][3] < 0.95 * lost["fast"][3]
    assert lost["best"][8] < 0.02 * float(y.var())


@pytest.mark.parametrize("kind", ["sequences", "waves"])
def test_batches_of_different_lengths(kind: str) -> None:
    """Sequences of a linear network and waves of a convolution: every batch has as many positions as it has."""
    torch.manual_seed(0)
    lengths = (6, 12, 9, 30)
    if kind == "sequences":
        layers: tuple[nn.Module, ...] = nn.Linear(6, 32), nn.GELU(), nn.Linear(32, 32), nn.GELU(), nn.Linear(32, 4)
        axis, shapes = 1, [(8, length, 6) for length in lengths]
    else:
        layers = nn.Conv1d(6, 32, 3), nn.ReLU(), nn.Conv1d(32, 32, 3), nn.ReLU(), nn.Conv1d(32, 4, 1)
        axis, shapes = 2, [(8, 6, length) for length in lengths]
    model = nn.Sequential(*layers).eval()
    batches, example = [torch.randn(shape) for shape in shapes], torch.randn(shapes[-1])
    dims = {axis: torch.export.Dim("length", min=6, max=64)}
    lost: dict[str, dict[int, float]] = {}
    methods: tuple[Method, ...] = ("fast", "best")
    for method in methods:
        net = calibrate(prepare(model, example, dims=dims).eval(), batches, method=method)
        with torch.no_grad():
            errors = {b: [F.mse_loss(net(x, b), model(x)) for x in batches] for b in (2, 3, 8)}
        lost[method] = {b: float(torch.stack(each).mean()) for b, each in errors.items()}
        program = lower(net)
        for x in batches:
            np.testing.assert_array_equal(program(x, 3), net(x, 3, exact=True).numpy())
    assert lost["best"][2] < lost["fast"][2]
    assert lost["best"][3] < 0.9 * lost["fast"][3]
    assert lost["best"][8] < 0.02 * float(torch.stack([model(x).detach().var() for x in batches]).mean())


def test_what_cannot_be_adapted_is_corrected() -> None:
    """Clips that follow the largest weight, weights that a hook computes, and kinds of layers without patches."""
    torch.manual_seed(0)
    x = torch.randn(16, 3, 8, 8)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.ConvTranspose2d(4, 4, 2, 2), nn.ReLU(), nn.Conv2d(4, 2, 3))
    for config in (Config(), Config(weight_clip="statistic")):
        net = calibrate(prepare(model.eval(), x[:2], config).eval(), [x], method="best")
        assert not torch.equal(net.layer("2").correction, torch.zeros_like(net.layer("2").correction))
        np.testing.assert_array_equal(lower(net)(x, 3), net(x, 3, exact=True).numpy())


def test_an_unknown_method() -> None:
    net = prepare(small().eval(), torch.randn(2, 3, 8, 8))
    with pytest.raises(CalibrationError, match="method 'slow': choose one of fast, best"):
        calibrate(net, [torch.randn(2, 3, 8, 8)], method="slow")  # type: ignore[arg-type]
    with pytest.raises(CalibrationError, match="ranges 'own': choose one of shared, per_width"):
        calibrate(net, [torch.randn(2, 3, 8, 8)], ranges="own")  # type: ignore[arg-type]
    with pytest.raises(CalibrationError, match="ranges 'shared': method 'best' chooses ranges by width"):
        calibrate(net, [torch.randn(2, 3, 8, 8)], method="best", ranges="shared")
