"""Every place that takes labels takes the same ones, and refuses the others in one way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from dqt.arith.errors import InputError
from dqt.data.errors import DataError
from dqt.lower.emit import lower
from dqt.nn.calibrate import calibrate
from dqt.nn.net import Net
from dqt.program.cascade import calibrate_cascade
from dqt.train.fit import fit
from dqt.train.gains import fit_controller
from dqt.train.loss import objective
from dqt.train.recipe import Recipe
from dqt.train.search import measure
from dqt.train.sources import source_of
from dqt.train.validate import accuracies, evaluate

from .conftest import tiny_data, tiny_net

X, Y = tiny_data()
RECIPE = Recipe(epochs=1, batch_size=24, bitops=0.6, reestimate_batches=0)
CONTROLLER = Recipe(learn="controller", epochs=1, batch_size=24, bitops=0.6, measured=1)


def validated(net: Net, x: Tensor, y: Tensor) -> object:
    found = evaluate(net, source_of((x, y), RECIPE), (8,), torch.device("cpu"))
    return accuracies(found, (8,))


def cascade(net: Net, x: Tensor, y: Tensor) -> object:
    return calibrate_cascade(lower(calibrate(net, X).eval()), [(x.numpy(), y)], (2, 8), 2.0)


TAKERS: dict[str, Callable[[Net, Tensor, Tensor], object]] = {
    "fit": lambda net, x, y: fit(net, (x, y), None, RECIPE, progress=False).rows[0]["losses"],
    "fit a dataset": lambda net, x, y: fit(net, TensorDataset(x, y), None, RECIPE, progress=False).rows[0]["losses"],
    "objective": lambda net, x, y: float(objective(net, x, y, RECIPE).loss.detach()),
    "evaluate": validated,
    "search": lambda net, x, y: measure(net, [(x, y)], [])[2],
    "gains": lambda net, x, y: fit_controller(net, (x, y), None, CONTROLLER, progress=False).rows[0]["losses"],
    "cascade": cascade,
}


@pytest.mark.parametrize("taker", TAKERS)
def test_labels_of_any_integer_type_and_of_one_column_are_taken_alike(taker: str) -> None:
    forms = (Y, Y.int(), Y[:, None], Y.to(torch.uint8)[:, None])
    first, *others = [TAKERS[taker](tiny_net(controller=True), X, y) for y in forms]
    assert all(other == first for other in others)


class Named(TensorDataset):
    """Classes by their names."""

    def __init__(self) -> None:
        super().__init__(X)

    def __getitem__(self, index: int) -> Any:
        return X[index], "cat"


WRONG: list[tuple[Any, str]] = [
    (torch.where(torch.arange(48) == 17, 3, Y), "3 of sample 17 is not a class: need 0 to 2, of 3 classes"),
    (Y - 1, "-1 of sample 0 is not a class"),
    (Y + 1, "labels begin at 1: subtract 1"),
    (Y.float(), "float32"),
    (torch.eye(3)[Y], "argmax"),
]


@pytest.mark.parametrize(("y", "message"), WRONG)
@pytest.mark.parametrize("taker", TAKERS)
def test_labels_that_do_not_fit_are_refused_by_name(taker: str, y: Tensor, message: str) -> None:
    if taker == "fit a dataset" and "of sample 0" in message:
        message = "-1 of sample"  # in the order of training
    with pytest.raises((DataError, InputError), match=message):
        TAKERS[taker](tiny_net(controller=True), X, y)


def test_too_few_labels_are_refused() -> None:
    with pytest.raises(DataError, match=r"shape \[47\]: need integers \[48\]"):
        objective(tiny_net(), X, Y[:47])
    with pytest.raises(DataError, match=r"labels of type tuple in a batch"):
        fit(tiny_net(), Named(), None, RECIPE, progress=False)
