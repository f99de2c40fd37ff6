"""Models that are graphs already: of ``torch.fx``, and of ``torch.export``."""

from __future__ import annotations

from types import MethodType

from torch import fx, nn

OWN = ("forward", "train", "eval")
"""What an instance may have in place of the methods of its class; that of torch.export refuses two of them."""


def as_module(model: nn.Module) -> nn.Module:
    """A graph as a plain module with the same parts under the same names; any other module as it is.

    torch.export interprets a graph without calling its ``forward``, which is what tells us of structures.
    """
    if not isinstance(model, fx.GraphModule):
        return model
    plain = nn.Module()
    vars(plain).update({name: value for name, value in vars(model).items() if name not in OWN})
    plain.forward = MethodType(type(model).forward, plain)
    plain.training = model.training and "eval" not in vars(model)  # of an inference graph it says nothing
    return plain
