"""Batches of several processes as parts of one batch: the statistics of norms, and what ranges follow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.distributed.nn.functional import all_reduce

from dqt.nn.net import Net
from dqt.nn.norms import Norm
from dqt.nn.ranges import Quantizer


class Processes:
    """The processes of torch.distributed's default group, see :class:`dqt.nn.across.Across`."""

    def __init__(self) -> None:
        self.rank, self.count = torch.distributed.get_rank(), torch.distributed.get_world_size()

    def mean(self, values: Tensor) -> Tensor:
        """The mean over all processes; its gradient is that of all processes' losses together."""
        summed: Tensor = all_reduce(values.contiguous())  # type: ignore[no-untyped-call]
        return summed / self.count

    def largest(self, values: Tensor) -> Tensor:
        """The largest of all processes."""
        made = values.clone()
        torch.distributed.all_reduce(made, op=torch.distributed.ReduceOp.MAX)
        return made


@contextmanager
def one_batch(net: Net, wanted: bool) -> Iterator[None]:
    """Norms and quantizers take the batches of all processes for one batch inside the block, if ``wanted``."""
    if not wanted:
        yield
        return
    modules = [module for module in net.modules() if isinstance(module, Norm | Quantizer)]
    all_of_them = Processes()
    for module in modules:
        module.across = all_of_them
    try:
        yield
    finally:
        for module in modules:
            module.across = None
