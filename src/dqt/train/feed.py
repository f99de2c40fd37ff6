"""The batches of a run: which samples, in which order, augmented by which seeds, on which device.

Every order and every seed is a function of (seed, purpose, epoch, step, rank), so a run that was cut off reads on
where it stood.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from dqt.train.data import DataError
from dqt.train.layout import arranged
from dqt.train.seeds import permutation
from dqt.train.sources import Seed, Source
from dqt.train.structures import mapped, taken
from dqt.train.validate import batches_of


class Feed:
    """One process's batches of ``source``, with inputs on ``device`` and in the memory order ``order``.

    Args:
        seed: of the run.   rank, ranks: this process among all.

    Attributes:
        steps: training steps of an epoch.   samples: of one training step, over all processes.

    Raises:
        DataError: fewer samples than processes.
    """

    def __init__(
        self,
        source: Source,
        seed: int,
        device: torch.device,
        order: torch.memory_format = torch.contiguous_format,
        *,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        self.source, self.seed, self.device, self.order = source, seed, device, order
        self.rank, self.ranks = rank, ranks
        self.steps, self._per_step = _steps(len(source), source.batch_size, ranks)
        self.samples = self._per_step * ranks

    def epoch(self, epoch: int, done: int = 0) -> Iterator[tuple[Tensor, Any, Any]]:
        """Sample numbers, inputs and targets of each step of an epoch, augmented; without the first ``done`` steps."""
        used = self.steps * self.ranks * self._per_step
        order = permutation(len(self.source), self.seed, "order", epoch)[:used]
        every = order.view(self.steps, self.ranks * self._per_step)[done:]
        mine = slice(self.rank * self._per_step, (self.rank + 1) * self._per_step)
        together = self.ranks > 1 and self.source.draws_together
        indices = list(every if together else every[:, mine])
        # The same seed in every process: a sample is augmented as one process would that trains on the same batches.
        seeds: list[Seed] = [(self.seed, "augment", epoch, step, 0) for step in range(done, self.steps)]
        for samples, (x, y) in zip(every, self.source.batches(indices, seeds), strict=True):
            part = (x, y) if not together else (taken(x, mine), taken(y, mine))
            yield samples[mine], self._placed(part[0]), part[1]

    def plain(self, purpose: str, count: int) -> list[Any]:
        """Inputs of ``count`` batches without augmentation, the same in every process."""
        return [self._placed(x) for x, _ in self.source.batches(self._drawn(purpose, count))]

    def augmented(self, purpose: str, count: int) -> list[Any]:
        """Inputs of ``count`` batches, augmented as in training, the same in every process.

        Norm statistics must come from these: plain images of the training set, which the network knows by heart, have
        others (ResNet-20 on CIFAR-10 lost 2.7 points by them).
        """
        indices = self._drawn(purpose, count)
        seeds: list[Seed] = [(self.seed, purpose, i) for i in range(len(indices))]
        return [self._placed(x) for x, _ in self.source.batches(indices, seeds)]

    def _drawn(self, purpose: str, count: int) -> list[Tensor]:
        size = self.source.batch_size * self.ranks  # as one process would draw that trains on the same batches
        return batches_of(permutation(len(self.source), self.seed, purpose), size)[:count]

    def _placed(self, x: Any) -> Any:
        return mapped(lambda each: arranged(each.to(self.device), self.order), x)


def _steps(samples: int, batch_size: int, processes: int) -> tuple[int, int]:
    """Steps of an epoch, and samples of each step and process; the last incomplete step is left out."""
    if samples < processes:
        raise DataError(f"{samples} training samples for {processes} processes")
    per_step = min(batch_size, samples // processes)
    return samples // (per_step * processes), per_step
