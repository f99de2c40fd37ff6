"""What norms and quantizers ask for where the batches of several processes are parts of one batch."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Across(Protocol):
    """All processes that train together; every one of them makes the same calls in the same order.

    Attributes:
        rank: of this process.   count: of processes.
    """

    rank: int
    count: int

    def mean(self, values: Tensor) -> Tensor:
        """The mean over all processes, differentiable."""
        ...

    def largest(self, values: Tensor) -> Tensor:
        """The largest of all processes, element by element."""
        ...
