"""Clips, rule and exponents of weights."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from dqt.nn.choose_weights import Weights, choose_weights, reach
from dqt.nn.layers import Linear

WIDTHS = (2, 3, 4, 5, 6, 7, 8)


def layer(weight: Tensor) -> Linear:
    return Linear("x", weight, None, 8, WIDTHS, "learned")


def normal(out: int = 32, inputs: int = 256) -> Tensor:
    return torch.randn(out, inputs, generator=torch.Generator().manual_seed(0))


def error(weight: Tensor, found: Weights, b: int, *, rule: bool | None = None, e: int | None = None) -> float:
    """Relative squared error at width ``b`` with the best factor for each channel."""
    made = layer(weight)
    made.clip.data.copy_(found.clip)
    e = found.exponents[WIDTHS.index(b)] if e is None else e
    t = made.narrowed_by(made.scale(), b, found.nearest if rule is None else rule, e).detach()
    along, size = (t * weight).sum(1), t.square().sum(1)
    return float(1 - (along.square() / size).sum() / weight.square().sum())


def test_normal_weights_keep_their_largest_and_read_a_part_at_2_bits() -> None:
    weight = normal()
    found = choose_weights(layer(weight), WIDTHS, "mse")
    assert not found.nearest
    assert (found.clip >= 0.7 * weight.abs().amax(1)).all()
    assert found.exponents[0] == 1
    assert found.exponents[3:] == (0, 0, 0, 0)
    assert error(weight, found, 2) < 0.14  # four levels for a normal distribution leave 0.1175 at best
    assert error(weight, found, 2, e=0) > 1.3 * error(weight, found, 2)


def test_8_bits_lose_at_most_a_decibel() -> None:
    weight = normal()
    found = choose_weights(layer(weight), WIDTHS, "mse")
    plain = choose_weights(layer(weight), WIDTHS, "max")
    assert error(weight, found, 8) <= 1.26 * error(weight, plain, 8)


def test_pruned_weights_get_a_zero() -> None:
    weight = normal()
    weight[weight.abs() < 1.28] = 0.0  # 80 %
    found = choose_weights(layer(weight), WIDTHS, "mse")
    assert found.nearest
    for b in (3, 4):
        assert error(weight, found, b) < 0.5 * error(weight, found, b, rule=False)
    assert not choose_weights(layer(weight), WIDTHS, "mse", "midpoint").nearest
    assert choose_weights(layer(normal()), WIDTHS, "mse", "nearest").nearest


@pytest.mark.parametrize("observer", ["max", "percentile"])
def test_other_observers_keep_the_largest(observer: str) -> None:
    weight = normal()
    found = choose_weights(layer(weight), WIDTHS, observer)  # type: ignore[arg-type]
    torch.testing.assert_close(found.clip, weight.abs().amax(1) * reach(8))


def test_a_layer_at_8_bits_alone_is_plain() -> None:
    weight = normal()
    found = choose_weights(layer(weight), (8,), "mse")
    assert found.exponents == (0,) * 7
    torch.testing.assert_close(found.clip, weight.abs().amax(1) * reach(8))


@pytest.mark.parametrize("widths", [(8,), WIDTHS])
@pytest.mark.parametrize("observer", ["mse", "percentile", "max"])
def test_weights_that_were_quantized_to_8_bits_keep_their_values(widths: tuple[int, ...], observer: str) -> None:
    codes = torch.randint(-127, 128, (32, 9), generator=torch.Generator().manual_seed(0))
    codes[:, 0] = torch.tensor((127, -127)).repeat(16)
    weight = codes * torch.linspace(0.001, 0.1, 32)[:, None]
    made = layer(weight)
    made.clip.data.copy_(choose_weights(made, widths, observer).clip)  # type: ignore[arg-type]
    assert torch.equal(made.codes(), codes.to(torch.int8))
    torch.testing.assert_close(made.codes() * made.scale()[:, None], weight)


def test_dead_channels_and_single_weights() -> None:
    weight = normal(4, 1)
    weight[2] = 0.0
    found = choose_weights(layer(weight), WIDTHS, "mse")
    assert torch.isfinite(found.clip).all()
    assert (found.clip > 0).all()


def test_the_search_is_quick() -> None:
    """0.2 s for a million weights on one idle core; five times that on a busy one. Threads that wait would count."""
    big, threads = layer(torch.randn(1000, 1000)), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert min(seconds(lambda: choose_weights(big, WIDTHS, "mse")) for _ in range(3)) < 1.0
    finally:
        torch.set_num_threads(threads)


def seconds(work: Callable[[], object]) -> float:
    """Of the processor."""
    start = time.process_time()
    work()
    return time.process_time() - start
