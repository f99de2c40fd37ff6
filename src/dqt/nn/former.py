"""Names of a prepared network that have changed: they go on working for one release, and warn."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from dqt.nn.graph import Node


class FormerNames(nn.Module):
    """What a network was asked for by another name."""

    nodes: tuple[Node, ...]
    quantizers: nn.ModuleDict

    @property
    def steps(self) -> tuple[Node, ...]:
        """The former name of ``nodes``."""
        warnings.warn("Net.steps is called Net.nodes now", DeprecationWarning, stacklevel=2)
        return self.nodes

    @property
    def edges(self) -> nn.ModuleDict:
        """The former name of ``quantizers``."""
        warnings.warn("Net.edges is called Net.quantizers now", DeprecationWarning, stacklevel=2)
        return self.quantizers
