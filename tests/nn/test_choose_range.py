"""Clips, zero points and parts of a range, from values."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dqt.nn import fake
from dqt.nn.choose_range import Range, choose_range
from dqt.nn.observers import Observer, extent_of
from dqt.nn.ranges import Kind, Quantizer, levels_of
from dqt.nn.zeros import Readers, middle_widths

WIDTHS = (2, 3, 4, 5, 6, 7, 8)
INSIDE = Readers(8, WIDTHS, 64, anywhere=False, parts=True)
MASTER_ALONE = Readers(8, (8,), 1, anywhere=True, parts=True)
OBSERVERS: tuple[Observer, ...] = ("mse", "percentile", "max")


def chosen(x: Tensor, kind: Kind, observer: Observer = "mse", readers: Readers = INSIDE) -> Range:
    quantizer = Quantizer("e", kind, 8, 64, 0.99)
    return choose_range(quantizer, [x], extent_of([x], observer), observer, readers, readers.widths)


def error(x: Tensor, found: Range, b: int = 8, e: int = 0) -> float:
    """Mean squared error at width ``b``."""
    scale = torch.tensor(found.clip / levels_of(found.zero, 8))
    return float((fake.narrow_activation(x, scale, found.zero, 8, b, e, real=True) - x).square().mean())


def uniform(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(3))


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def test_what_a_table_makes_of_values_decides_their_range() -> None:
    """A GELU makes nothing of values far below 0: no codes for them."""
    x = normal(500, 64) * 3
    quantizer, extent = Quantizer("e", "signed", 8, 64, 0.99), extent_of([x], "mse")
    readers = replace(MASTER_ALONE, anywhere=False)
    found, plain = (choose_range(quantizer, [x], extent, "mse", readers, (8,), f) for f in (F.gelu, None))
    errors = []
    for each in (found, plain):
        scale = torch.tensor(each.clip / levels_of(each.zero, 8))
        real = fake.narrow_activation(x, scale, each.zero, 8, 8, real=True)
        errors.append(float((F.gelu(real) - F.gelu(x)).square().mean()))
    assert errors[0] < 0.6 * errors[1]
    assert found.zero < 0.7 * plain.zero


def test_the_observers_on_a_spike() -> None:
    x = uniform(500, 64)
    x[3, 5] = 1000.0
    assert 0.95 < chosen(x, "unsigned", "mse").clip <= 1.0
    assert 0.95 < chosen(x, "unsigned", "percentile").clip <= 1.0
    assert chosen(x, "unsigned", "max").clip == 1000.0


@pytest.mark.parametrize("observer", OBSERVERS)
@pytest.mark.parametrize("kind", ["unsigned", "signed"])
def test_pixels_keep_their_whole_range_at_8_bits(kind: Any, observer: Observer) -> None:
    """No bit is gained by clipping values that lie in 0..1 and reach both ends, whatever was promised of their sign."""
    x = (uniform(64, 3, 16, 16) * 255).round() / 255
    for readers in (INSIDE, MASTER_ALONE):
        found = chosen(x, kind, observer, readers)
        assert found.clip == pytest.approx(1.0, rel=1e-3)
        assert found.zero == 0


@pytest.mark.parametrize(
    ("tail", "zero"),
    [
        (F.hardswish, 64),  # from -0.375 to about 4: of four levels one is the tail's
        (F.relu, 0),
        (lambda x: x, 128),
        (lambda x: -F.relu(-x) + 0.2 * F.relu(x), 192),  # the largest values are negative
    ],
)
def test_the_zero_point_follows_the_tails(tail: Any, zero: int) -> None:
    found = chosen(tail(normal(64, 500)), "signed")
    assert found.zero == zero


def test_a_zero_point_for_a_tail_gives_values_more_codes() -> None:
    x = F.silu(2 * normal(64, 500))
    assert error(x, chosen(x, "signed")) < 0.6 * error(x, chosen(x, "signed", readers=replace(INSIDE, fixed=128)))


def test_at_the_master_width_alone_any_zero_point_serves() -> None:
    """Also outside of the codes, where values lie far from 0; inside of them where a real zero is needed."""
    x = 200 + 3 * uniform(64, 500)
    found = chosen(x, "signed", readers=MASTER_ALONE)
    assert found.zero == -1020  # as far as it may lie
    assert error(x, found) < 0.08  # and not (203 / 255)^2 / 12
    inside = chosen(x - 201, "signed", readers=replace(MASTER_ALONE, anywhere=False))
    assert inside.zero == 85  # of values in [-1, 2]


def test_a_low_width_reads_a_part_where_it_pays() -> None:
    x = normal(64, 500).exp().sub(1).relu()  # dense below 2, and up to 40
    found = chosen(x, "unsigned")
    assert found.clip > 0.8 * float(x.max())
    assert found.exponents[2] == 2
    assert found.exponents.keys() <= {2, 3, 4, 5, 6}
    assert error(x, found, 2, 2) < 0.7 * error(x, found, 2, 0)


def test_where_one_range_is_to_serve_all_it_suits_a_middle_width() -> None:
    x = normal(64, 500)
    all_alike = chosen(x, "signed", readers=replace(INSIDE, parts=False, one_range=True))
    assert all_alike.clip < 0.9 * chosen(x, "signed").clip
    assert not all_alike.exponents


def test_two_widths_as_far_from_the_middle_both_have_a_vote() -> None:
    """Of 2 and 8 bits, a range for 2 alone would cost 8 bits most of their codes."""
    x = normal(64, 500)
    both, low = (
        chosen(x, "signed", readers=replace(INSIDE, widths=widths, parts=False, one_range=True))
        for widths in ((2, 8), (2, 3, 8))
    )
    assert error(x, both) < 0.1 * error(x, low)
    assert [middle_widths(w) for w in ((2, 8), (2, 4, 8), (4, 6), (2, 3, 8))] == [(2, 8), (4,), (4, 6), (3,)]


def test_8_bits_are_as_good_as_a_range_for_8_bits_alone() -> None:
    for x in (normal(64, 500), normal(64, 500).relu(), F.gelu(normal(64, 500)), normal(64, 500).exp()):
        at_8 = chosen(x, "signed", readers=replace(INSIDE, widths=(8,), grid=1))
        assert error(x, chosen(x, "signed")) <= 2.6 * error(x, at_8)  # 64 is a grid: a part of the codes is lost
        symmetric = Range(float(x.abs().max()), 128)
        assert error(x, chosen(x, "signed")) <= 1.6 * error(x, symmetric)  # 2 dB for lower widths


def test_nothing_but_zeros() -> None:
    assert chosen(torch.zeros(4, 5), "signed") == Range(0.0, 128)
