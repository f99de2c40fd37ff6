"""Arithmetic on whole numbers that a model is given: positions made of tokens, masks, bags of rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import dqt
from dqt.nn.errors import UnsupportedError
from dqt.nn.net import Net
from dqt.nn.operator import whole_handlers
from dqt.nn.run import Run

WORDS, LENGTH, PAD = 11, 6, 1


class Tokens(nn.Module):
    """Rows of tokens, and what ``call`` makes of the tokens as rows of positions."""

    def __init__(self, call: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.call = call
        self.words, self.places = nn.Embedding(WORDS, 8), nn.Embedding(40, 8)
        self.bag, self.total = nn.EmbeddingBag(WORDS, 8), nn.EmbeddingBag(WORDS, 8, mode="sum", padding_idx=PAD)
        self.largest = nn.EmbeddingBag(WORDS, 8, mode="max")
        self.kinds = nn.Buffer(torch.arange(40).remainder(5).expand(1, -1))
        self.head = nn.Linear(8, 3)

    def forward(self, words: Tensor) -> Tensor:
        found = self.call(self, words)
        rows = found if found.is_floating_point() else self.places(found)
        return self.head(self.words(words) + (rows if rows.dim() == 3 else rows.unsqueeze(1)))


def positions(_: Any, words: Tensor) -> Tensor:
    """As RoBERTa counts what is no padding."""
    mask = words.ne(PAD).int()
    return ((torch.cumsum(mask, dim=1).type_as(mask) + 0) * mask).long() + PAD


CASES: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "positions": positions,
    "kinds": lambda m, x: torch.gather(m.kinds.expand(x.shape[0], -1), 1, positions(m, x)),
    "comparisons": lambda _, x: (x.eq(3).int() + x.lt(4) * 2) + (x.le(5).long() + x.gt(6).int() * x.ge(2).int()),
    "differences": lambda _, x: (12 - x) - (x - 12),
    "not": lambda _, x: torch.logical_not(x > 4).long() + torch.logical_not(x).long(),
    "from each other": lambda _, x: 2 * x + x * x.lt(3).long(),
    "along the batch's side": lambda _, x: torch.cumsum(x.t().eq(2).long(), 0).t(),
    "a mask of floats": lambda m, x: m.words(x) * x.ne(PAD).float().unsqueeze(-1),
    "a mean of rows": lambda m, x: m.bag(x),
    "a sum without padding": lambda m, x: m.total(x),
    "the largest of rows": lambda m, x: m.largest(x),
    "bags of one": lambda m, x: m.bag(x[:, :1]),
}


def network(call: Callable[[Any, Tensor], Tensor]) -> tuple[Tokens, Net, Tensor]:
    torch.manual_seed(1)
    model, x = Tokens(call).eval(), torch.randint(0, WORDS, (5, LENGTH))
    x[0, -2:] = PAD
    net = dqt.prepare(model, x, dqt.Config(widths=(2, 8)))
    dqt.calibrate(net, [x])
    return model, net.eval(), x


@pytest.mark.parametrize("name", CASES)
def test_numbers_are_exact(name: str) -> None:
    model, net, x = network(CASES[name])
    with torch.no_grad():
        expected = model(x)
        torch.testing.assert_close(net._run(x, Run({}, quantized=False), False), expected, rtol=1e-4, atol=1e-5)
    program = dqt.lower(net)
    for plan in (2, 8):
        served = dqt.interpret(program, x.numpy(), plan)
        np.testing.assert_array_equal(served, net(x, plan, exact=True).numpy())
        np.testing.assert_array_equal(served, dqt.Runtime(program, threads=1)(x.numpy(), plan))
    assert float((net(x, 8, exact=True) - expected).norm() / expected.norm()) < 0.2


def test_every_operator_has_a_case() -> None:
    seen = set()
    for call in CASES.values():
        exported = torch.export.export(Tokens(call).eval(), (torch.zeros(2, LENGTH, dtype=torch.int64),), strict=False)
        seen |= {str(node.target) for node in exported.graph.nodes}
    in_place = {name for name in whole_handlers() if name.split(".")[1].endswith("_")}
    assert set(whole_handlers()) - in_place <= seen


REFUSED = {
    "bounds": (lambda _, x: (x - 3).clamp_min(0), "clamp_min"),
    "more than a table holds": (lambda _, x: 5 * x * x.lt(3).long(), r"\[0, 39\]"),
    "another number for each": (lambda _, x: x + torch.arange(LENGTH), "is not one whole number"),
    "bags of words": (
        lambda m, x: F.embedding_bag(x.flatten(), m.words.weight, torch.arange(0, x.numel(), 3)).view(-1, 2, 8).sum(1),
        "bags of different lengths",
    ),
    "a mean without padding": (lambda m, x: F.embedding_bag(x, m.words.weight, padding_idx=PAD), "leaves out an index"),
    "rows of floats": (
        lambda m, x: torch.gather(m.head.bias.expand(x.shape[0], -1), 1, x.lt(3).long()).unsqueeze(-1),
        "whole numbers that every row has",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused(name: str) -> None:
    call, why = REFUSED[name]
    with pytest.raises((UnsupportedError, dqt.ProgramError), match=why):
        dqt.lower(network(call)[1])
