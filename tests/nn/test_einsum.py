"""Einstein sums as nodes: what torch computes, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dqt.lower.emit import lower
from dqt.nn.errors import UnsupportedError
from dqt.nn.run import Run
from dqt.testing.networks import ready

FORMS = {
    "nlc->ncl": (),
    "nlc->nl": (),
    "nlc->n": (),
    "nlc,dc->nld": (7, 4),
    "dc,nlc->nld": (7, 4),
    "nlc,cd->ndl": (4, 7),
    "nlc,lc->n": (6, 4),
    "nlc,hdc->nhld": (2, 3, 4),
    "nlc,hcd->nlhd": (2, 4, 3),
    "nlc,lcd->nd": (6, 4, 3),
    "nlc,lcd->nld": (6, 4, 3),
    "lcd,nlc->ndl": (6, 4, 3),
    "nlc,lm->nmc": (6, 5),
    "n l c, l -> n c": (6,),
    "...c,cd->...d": (4, 3),
    "...c,cd": (4, 3),
    "nlc,c->nl": (4,),
    "nlc,c->nlc": (4,),
    "nll->nl": (),
}
REFUSED = {
    "nlc,lcc->nl": ((6, 4, 4), "whose constant is no matrix"),
    "nlc->lnc": ((), "its first dimension must be the batch"),
    "nlc->lc": ((), "moves or sums the batch"),
}


class Sum(nn.Module):
    """A linear layer, an Einstein sum with a parameter of a shape."""

    def __init__(self, equation: str, shape: tuple[int, ...], features: int = 4) -> None:
        super().__init__()
        self.equation, self.layer = equation, nn.Linear(3, features)
        self.w = nn.Parameter(torch.randn(shape)) if shape else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.layer(x)
        first = self.w is not None and not self.equation.startswith(("n", "."))
        operands = [y] if self.w is None else [self.w, y] if first else [y, self.w]
        return torch.einsum(self.equation, *operands)


@pytest.mark.parametrize("equation", FORMS)
def test_forms(equation: str) -> None:
    torch.manual_seed(1)
    model = Sum(equation, FORMS[equation], 6 if equation.startswith("nll") else 4).eval()
    net, x = ready(model, (6, 3), widths=(3, 8))
    expected = model(x).detach()
    torch.testing.assert_close(net._run(x, Run({}, quantized=False), False), expected, rtol=1e-4, atol=1e-5)
    program = lower(net)
    for plan in (3, 8):
        np.testing.assert_array_equal(program(x, plan), net(x, plan, exact=True).numpy())
    assert float((net(x, 8, exact=True) - expected).norm() / expected.norm()) < 0.2


@pytest.mark.parametrize("equation", REFUSED)
def test_refused(equation: str) -> None:
    shape, why = REFUSED[equation]
    with pytest.raises(UnsupportedError, match=why):
        ready(Sum(equation, shape), (6, 3))


def test_a_product_of_two_activations() -> None:
    class Both(Sum):
        def forward(self, x: Tensor) -> Tensor:
            y = self.layer(x)
            return torch.einsum("nlc,nmc->nlm", y, y.relu())

    net, x = ready(Both("", ()), (6, 3), widths=(3, 8))
    program = lower(net)
    for plan in (3, 8):
        np.testing.assert_array_equal(program(x, plan), net(x, plan, exact=True).numpy())
