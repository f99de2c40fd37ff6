"""Predictions in pieces, and pixels: the same numbers with torch and without."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import torch

import dqt
from dqt.nn.net import Net
from dqt.program.interpret import InputError
from dqt.program.pixels import class_name, pixels_to_inputs
from dqt.train.data import load
from dqt.train.predict import BATCH, outputs

from .conftest import tiny_data


@pytest.mark.parametrize("exact", [False, True])
def test_outputs_are_those_of_the_network(net: Net, exact: bool) -> None:
    x, _ = tiny_data(BATCH + 5)
    net.train()
    found = outputs(net, x, 4, exact=exact)
    assert net.training
    net.eval()
    with torch.no_grad():
        assert torch.equal(found[BATCH:], net(x[BATCH:], 4, exact=exact))
    assert not found.requires_grad
    assert len(found) == BATCH + 5


@pytest.fixture
def program(net: Net) -> dqt.Program:
    dqt.calibrate(net, [tiny_data()[0]])
    found: dqt.Program = dqt.lower(net, info={"mean": [0.3053], "std": [0.376], "classes": ["a", "b", "c"]})
    return found


def test_pixels_are_normalized_to_the_bit_as_in_training(program: dqt.Program) -> None:
    test = load("digits").test
    test = replace(test, images=test.images[:, :, 1:7, 1:7])
    assert np.array_equal(pixels_to_inputs(program, test.images.numpy()), test.inputs().numpy())
    every: npt.NDArray[np.uint8] = np.arange(288).astype(np.uint8).reshape(8, 1, 6, 6)  # every value of a byte
    assert np.array_equal(pixels_to_inputs(program, every), test.normalize(torch.from_numpy(every)).numpy())


def test_classes_have_names_or_numbers(program: dqt.Program) -> None:
    assert class_name(program, 1) == "b"
    assert class_name(program, 7) == "7"
    assert class_name(replace(program, info={}), 1) == "1"


@pytest.mark.parametrize(
    ("info", "message"),
    [
        ({}, "does not say the mean"),
        ({"mean": [0.5]}, "does not say the std"),
        ({"mean": 0.5, "std": [1.0]}, "need a list of numbers"),
        ({"mean": ["x"], "std": [1.0]}, "need a list of numbers"),
        ({"mean": [0.5, 0.5], "std": [1.0]}, "images of 1 channels, but the program's mean is for 2"),
        ({"mean": [0.5], "std": [0.0]}, "must be positive"),
    ],
)
def test_constants_that_cannot_be_are_refused(program: dqt.Program, info: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        pixels_to_inputs(replace(program, info=info), np.zeros((1, 1, 6, 6), np.uint8))
