"""How the widths of a layer read its weights and activations: rule and exponents (docs/numerics.md, section 11)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Reading:
    """The rule of a layer's weights, and the exponents of each of its widths.

    Attributes:
        nearest: weights by the nearest rule, which has a zero at every width, and not by the balanced midpoint.
        weights, inputs: for each width ``b`` of the layer the ``e`` in ``[0, min(2, n - b)]`` with which it reads a
            range of ``2^-e`` of the master's.
    """

    nearest: bool
    weights: tuple[int, ...]
    inputs: tuple[int, ...]

    def tensor(self) -> Tensor:
        """As a state dict keeps it: int8 ``[3, widths]``; the first row is the rule, once for each width."""
        rows = ((int(self.nearest),) * len(self.weights), self.weights, self.inputs)
        return torch.tensor(rows, dtype=torch.int8)


def plain_reading(widths: Sequence[int]) -> Reading:
    """Balanced midpoints, and the whole range at every width."""
    none = (0,) * len(widths)
    return Reading(False, none, none)


def reading_of(tensor: Tensor) -> Reading:
    """The inverse of :meth:`Reading.tensor`."""
    rule, weights, inputs = tensor.tolist()
    return Reading(bool(rule[0]), tuple(weights), tuple(inputs))
