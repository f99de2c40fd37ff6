"""Parameters of a model that several operators use: a layer called twice, an embedding that is the last layer's weight.

Each operator has a module of its own, with the ranges and corrections of its own place. Where it uses the parameter as
another does, the two modules hold one parameter, which trains as it did in the model.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import nn

from dqt.nn.errors import TieWarning
from dqt.nn.layers import WidthLayer
from dqt.nn.scales import Held, Rows, Scale

if TYPE_CHECKING:
    from dqt.nn.net import Net

Place = tuple[str, str]
"""Path of a module, and the name of a tensor in it."""


def tie(net: Net, uses: Mapping[str, list[Place]]) -> None:
    """Make one parameter of those that stand for one parameter of the model.

    Args:
        uses: name of a parameter of the model -> where it is used.

    Warns:
        TieWarning: the model trains a parameter that it uses in two forms, so that no one parameter serves both.
    """
    for name, places in uses.items():
        held = [(path, leaf, net.find(path)) for path, leaf in dict.fromkeys(places)]
        there = [
            (path, leaf, module) for path, leaf, module in held if module is not None and leaf in module._parameters
        ]
        for path, leaf, module in there[1:]:
            if not _tied(there[0][2], module, there[0][1], leaf):
                _warn(name, there[0][0], path)


def _tied(one: nn.Module, other: nn.Module, leaf: str, its_leaf: str) -> bool:
    """Whether one parameter could be made of the two, or training would not change them."""
    a, b = one._parameters[leaf], other._parameters[its_leaf]
    assert a is not None
    assert b is not None
    able = all(isinstance(module, WidthLayer | Held | Rows | Scale) for module in (one, other))
    if not able or a.shape != b.shape or not torch.equal(a, b):
        return not (a.requires_grad or b.requires_grad)
    other._parameters[its_leaf] = a
    if isinstance(one, WidthLayer) and isinstance(other, WidthLayer) and leaf == its_leaf == "weight" and one.learned:
        other._parameters["clip"] = one._parameters["clip"]
    return True


def _warn(name: str, first: str, path: str) -> None:
    text = (
        f"{name} is used by {first}, and in another form by {path}: both have its values now, but training changes "
        "each by itself, so that they are no longer tied"
    )
    warnings.warn(text, TieWarning, stacklevel=2)
