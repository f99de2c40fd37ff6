"""Random transforms that follow their place: one seed for each sample of each epoch, for all global generators.

torch's, NumPy's and Python's generators are seeded before a sample is made, and before samples become a batch, in the
process that does it. So a transform draws anew for every sample and epoch, whichever of the three it draws from, and
the same numbers in any worker, in none, and in a resumed run.
"""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np
import torch
from torch.utils.data import Dataset

from dqt.train.seeds import derive

Place: TypeAlias = tuple[int, int]
"""Index of a sample, and the seed of what is random about it."""
NUMPY_SEEDS = 1 << 32


@contextmanager
def preserved() -> Iterator[None]:
    """The global generators have their states back after the block, in which samples may be made."""
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002 - the one transforms use
    try:
        yield
    finally:
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        random.setstate(states[2])


def _seed(seed: int) -> None:
    torch.default_generator.manual_seed(seed)
    np.random.seed(seed % NUMPY_SEEDS)  # noqa: NPY002
    random.seed(seed)


class Seeded(Dataset[Any]):
    """A dataset by place. Its samples come with their seeds, from which the seed of their batch is made."""

    def __init__(self, dataset: Dataset[Any]) -> None:
        self.dataset = dataset

    def __getitem__(self, place: Place) -> tuple[int, Any]:
        index, seed = place
        _seed(seed)
        return seed, self.dataset[index]


class SeededCollate:
    """A collate function that may draw (as those that mix images do), on what :class:`Seeded` gives."""

    def __init__(self, collate: Callable[[list[Any]], Any]) -> None:
        self.collate = collate

    def __call__(self, samples: list[tuple[int, Any]]) -> Any:
        """The batch of the samples."""
        _seed(derive("collate", *(seed for seed, _ in samples)))
        return self.collate([sample for _, sample in samples])


class WorkerStart:
    """What a worker does first: it leaves Ctrl-C to the process that trains, and calls the user's own function."""

    def __init__(self, then: Callable[[int], object] | None) -> None:
        self.then = then

    def __call__(self, worker: int) -> None:
        """Called in the worker, with its number."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if self.then is not None:
            self.then(worker)
