"""The differentiable mirror: its forward pass is arith's integers, its gradients are those of the formulae."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor

from dqt.arith import nested
from dqt.nn import fake

MASTERS = [(n, b) for n in range(2, 9) for b in range(1, n + 1)]
STEPS = (1.0, 0.0123, 3.7e-5, 811.0)


@pytest.mark.parametrize(("n", "b"), MASTERS)
@pytest.mark.parametrize("signed", [False, True])
def test_activations_of_every_code_are_narrowed_as_arith_narrows(n: int, b: int, signed: bool) -> None:
    zero = nested.signed_zero(n) if signed else 0
    q = np.arange(1 << n)
    expected = nested.narrow_activation(q, n, b) - zero
    for step in STEPS:
        x = torch.from_numpy(q - zero).float() * step
        size = torch.tensor(step)
        codes = fake.narrow_activation(x, size, zero, n, b)
        np.testing.assert_array_equal(codes.numpy(), expected)
        real = fake.narrow_activation(x, size, zero, n, b, real=True)
        np.testing.assert_allclose(real.numpy(), expected * step, rtol=1e-6)
        again = fake.narrow_master(fake.narrow_activation(x, size, zero, n, n, real=True), size, zero, n, b)
        np.testing.assert_allclose(again.numpy(), expected * step, rtol=1e-6)


@pytest.mark.parametrize(("n", "b"), MASTERS)
def test_activations_between_codes_round_half_up_and_saturate(n: int, b: int) -> None:
    """One rounding for two: quarters of a code, whose step is a power of two, from far below to far above."""
    for zero in (0, nested.signed_zero(n)):
        u = np.arange(-4 * (1 << n), 8 * (1 << n)) / 4 - zero
        q = np.clip(np.floor(u + 0.5).astype(int) + zero, 0, (1 << n) - 1)
        expected = nested.narrow_activation(q, n, b) - zero
        x = torch.from_numpy(u).float() / 8
        np.testing.assert_array_equal(fake.narrow_activation(x, torch.tensor(0.125), zero, n, b).numpy(), expected)


@pytest.mark.parametrize(("n", "b"), MASTERS)
def test_weights_are_narrowed_as_arith_narrows_and_are_integers(n: int, b: int) -> None:
    lo, hi = nested.limits(n, signed=True)
    count = hi - lo + 1
    generator = torch.Generator().manual_seed(n * 10 + b)
    offsets = torch.cat([torch.tensor([0.0, 0.25, -0.25, 0.4999, -0.4999]), torch.rand(200, generator=generator) - 0.5])
    u = (torch.arange(lo, hi + 1).float()[:, None] + offsets).reshape(1, -1).repeat(2, 1)
    u = torch.cat([u, torch.tensor([[-1e4, 1e4, lo - 0.5, hi + 0.5]]).repeat(2, 1)], 1)
    step = torch.tensor([0.25, 0.0371])
    weight = u * step[:, None]
    h = torch.from_numpy(nested.weight_midpoints(n, b, tuple(weight.shape))).float()
    q = fake.weight_codes(weight, step, n)
    assert q.min() == lo
    assert q.max() == hi
    assert len(set(q.flatten().tolist())) == count
    expected = nested.narrow_weight(q.numpy().astype(int), n, b, h.numpy().astype(int))
    np.testing.assert_array_equal(fake.narrow_weight(weight, step, n, b, h).numpy(), expected)


PARTS = [(n, b, e) for n, b in MASTERS for e in range(min(2, n - b) + 1)]


@pytest.mark.parametrize(("n", "b", "e"), PARTS)
def test_parts_of_a_range_around_any_zero_point(n: int, b: int, e: int) -> None:
    """Quarters of a code, from far below to far above; zero points on the grid, off it, and outside of the codes."""
    top = 1 << n
    for zero in {0, 1, top // 4, top // 2 - 1, top // 2, top - 1} | ({-5, top + 7} if e == 0 else set()):
        u = np.arange(-4 * top, 8 * top) / 4 - zero
        q = np.clip(np.floor(u + 0.5).astype(int) + zero, 0, top - 1)
        expected = nested.narrow_activation(q, n, b, e, zero) - zero
        x, size = torch.from_numpy(u).float() / 8, torch.tensor(0.125)
        np.testing.assert_array_equal(fake.narrow_activation(x, size, zero, n, b, e).numpy(), expected)
        real = fake.narrow_activation(x, size, zero, n, b, e, real=True)
        np.testing.assert_array_equal(real.numpy(), expected / 8)


@pytest.mark.parametrize(("n", "b", "e"), PARTS)
@pytest.mark.parametrize("nearest", [False, True])
def test_weights_by_either_rule_in_parts_of_the_range(n: int, b: int, e: int, nearest: bool) -> None:
    lo, hi = nested.limits(n, signed=True)
    u = torch.arange(4 * lo - 9, 4 * hi + 9).float() / 4
    weight, step = u.repeat(3, 1) * 0.25, torch.full((3,), 0.25)
    q = fake.weight_codes(weight, step, n).numpy().astype(int)
    h = nested.weight_midpoints(n, b, tuple(weight.shape), e)
    expected = nested.nearest_weight(q, n, b, e) if nearest else nested.narrow_weight(q, n, b, h.astype(int), e)
    codes = fake.narrow_weight(weight, step, n, b, torch.from_numpy(h).float(), e, nearest=nearest)
    np.testing.assert_array_equal(codes.numpy(), expected)


def data(signed: bool) -> tuple[Tensor, Tensor, int]:
    """Values inside and outside the range of 4-bit codes with step 0.3, none on a boundary."""
    zero = 8 if signed else 0
    x = torch.linspace(-3.04, 6.03, 57).reshape(3, 19).requires_grad_()
    return x, torch.tensor(0.3, requires_grad=True), zero


@pytest.mark.parametrize(("signed", "b", "real"), list(product([False, True], [4, 3, 2], [True, False])))
def test_gradients_of_activations(signed: bool, b: int, real: bool) -> None:
    """STE inside the clip, 0 outside; the step gets LSQ's ``q - x/step`` inside, PACT's end of the range outside."""
    x, step, zero = data(signed)
    g = torch.linspace(-1, 2, 57).reshape(3, 19)
    y = fake.narrow_activation(x, step, zero, 4, b, real=real)
    torch.autograd.backward((y * g).sum())
    with torch.no_grad():
        u = x / step
        inside = (u > -zero) & (u < 15 - zero)
        codes = fake.narrow_activation(x, step, zero, 4, b)
        scale = 1.0 if real else 1 / step
        by_element = torch.where(inside, codes - u, codes) if real else torch.where(inside, -u / step, 0.0)
    assert x.grad is not None
    assert step.grad is not None
    torch.testing.assert_close(x.grad, g * inside * scale)
    torch.testing.assert_close(step.grad, (g * by_element).sum(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("signed", "b"), list(product([False, True], [3, 2])))
def test_gradients_through_the_master_are_the_same(signed: bool, b: int) -> None:
    g = torch.linspace(-1, 2, 57).reshape(3, 19)
    x, step, zero = data(signed)
    torch.autograd.backward((fake.narrow_activation(x, step, zero, 4, b, real=True) * g).sum())
    x2, step2, _ = data(signed)
    master = fake.narrow_activation(x2, step2, zero, 4, 4, real=True)
    torch.autograd.backward((fake.narrow_master(master, step2, zero, 4, b) * g).sum())
    assert x.grad is not None
    assert x2.grad is not None
    assert step.grad is not None
    assert step2.grad is not None
    torch.testing.assert_close(x2.grad, x.grad)
    torch.testing.assert_close(step2.grad, step.grad, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("b", [8, 5, 2])
def test_gradients_of_weights(b: int) -> None:
    weight = (torch.linspace(-1.3, 1.31, 60).reshape(2, 30)).requires_grad_()
    step = torch.tensor([0.006, 0.009], requires_grad=True)
    g = torch.linspace(-1, 2, 60).reshape(2, 30)
    h = torch.from_numpy(nested.weight_midpoints(8, b, (2, 30))).float()
    torch.autograd.backward((fake.narrow_weight(weight, step, 8, b, h) * step[:, None] * g).sum())
    with torch.no_grad():
        u = weight / step[:, None]
        inside = (u > -128) & (u < 127)
        codes = fake.narrow_weight(weight, step, 8, b, h)
        by_element = torch.where(inside, codes - u, codes)
    assert weight.grad is not None
    assert step.grad is not None
    torch.testing.assert_close(weight.grad, g * inside)
    torch.testing.assert_close(step.grad, (g * by_element).sum(1), rtol=1e-4, atol=1e-4)


def test_memory_order_changes_nothing() -> None:
    x = torch.randn(2, 3, 4, 5)
    results = []
    for layout in (torch.contiguous_format, torch.channels_last):
        a = x.clone(memory_format=layout).requires_grad_()
        step = torch.tensor(0.02, requires_grad=True)
        y = fake.narrow_activation(a, step, 128, 8, 3, real=True)
        torch.autograd.backward(y.square().sum())
        assert a.grad is not None
        assert step.grad is not None
        results.append((y.detach(), a.grad, step.grad))
    for one, other in zip(*results, strict=True):  # the step's gradient is a float sum, and its order differs
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_scaled_gradient() -> None:
    x = torch.tensor([1.0, -2.0], requires_grad=True)
    y = fake.scale_gradient(x, 0.25)
    assert torch.equal(y, x)
    torch.autograd.backward(y.sum())
    assert x.grad is not None
    assert x.grad.tolist() == [0.25, 0.25]


def test_the_choice_gets_the_straight_through_gradient() -> None:
    """``y * (1 + p - p.detach())``: the value stays, the probability gets ``sum(grad * y)`` of its sample."""
    p, y, g = torch.rand(3, requires_grad=True), torch.randn(3, 2, 4, 4, requires_grad=True), torch.randn(3, 2, 4, 4)
    torch.autograd.backward((fake.carry_choice(y, p) * g).sum())
    assert p.grad is not None
    assert y.grad is not None
    torch.testing.assert_close(p.grad, (g * y).sum((1, 2, 3)).detach())
    torch.testing.assert_close(y.grad, g)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_reordering_and_its_gradient(layout: torch.memory_format) -> None:
    x = torch.randn(5, 2, 3, 3).contiguous(memory_format=layout).requires_grad_()
    order = torch.tensor([3, 1, 4, 0, 2])
    inverse, g = order.argsort(), torch.randn(5, 2, 3, 3)
    y = fake.reorder(x, order, inverse)
    torch.autograd.backward((y * g).sum())
    assert torch.equal(y, x[order])
    assert x.grad is not None
    assert torch.equal(x.grad, g[inverse])
