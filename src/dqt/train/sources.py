"""Where batches come from: one face for data sets, tensors, torch datasets and loaders.

Which samples make a batch is decided outside, by index; what happens to a sample depends on its place alone. So a
run can go on at any step without replaying the ones before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, RandomSampler, SequentialSampler
from torch.utils.data.dataloader import default_collate

from dqt.train.data import DataError, DataSet
from dqt.train.recipe import Recipe
from dqt.train.seeds import derive

Batch: TypeAlias = tuple[Tensor, Tensor]
Seed: TypeAlias = tuple[int | str, ...]
Data: TypeAlias = "DataSet | Dataset[Any] | DataLoader[Any] | tuple[Tensor, Tensor]"
"""What ``fit`` takes as data."""


class Source(Protocol):
    """Samples by index.

    Attributes:
        batch_size: samples per step of each process.
        info: what a trained network should remember of its data; may be empty.
    """

    batch_size: int
    info: dict[str, Any]

    def __len__(self) -> int: ...

    def batches(self, indices: Sequence[Tensor], seeds: Sequence[Seed] | None = None) -> Iterator[Batch]:
        """One batch for each tensor of indices; augmented where ``seeds`` gives one seed for each."""
        ...


class Held:
    """A :class:`DataSet`, or inputs and labels, in memory."""

    def __init__(self, data: DataSet | tuple[Tensor, Tensor], batch_size: int) -> None:
        self.data, self.batch_size = data, batch_size
        self.info = data.info if isinstance(data, DataSet) else {}
        self._count = len(data) if isinstance(data, DataSet) else _checked_pair(*data)

    def __len__(self) -> int:
        return self._count

    def batches(self, indices: Sequence[Tensor], seeds: Sequence[Seed] | None = None) -> Iterator[Batch]:
        """See :class:`Source`. A pair of tensors has no augmentation."""
        for i, index in enumerate(indices):
            if isinstance(self.data, DataSet):
                yield self.data.batch(index, *(seeds[i] if seeds else ()))
            else:
                x, y = self.data
                yield x[index], y[index]


class Loaded:
    """A torch dataset of (input, label), read by a loader of its own; random transforms are seeded by place."""

    def __init__(
        self, dataset: Dataset[Any], batch_size: int, workers: int, collate: Callable[[list[Any]], Any] | None = None
    ) -> None:
        if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__"):
            raise DataError(f"{type(dataset).__name__} has no length and no index: fit needs a map-style dataset")
        self.dataset, self.batch_size, self.workers = dataset, batch_size, workers
        self.collate = collate or default_collate
        self.info: dict[str, Any] = {}

    def __len__(self) -> int:
        return len(self.dataset)

    def batches(self, indices: Sequence[Tensor], seeds: Sequence[Seed] | None = None) -> Iterator[Batch]:
        """See :class:`Source`. Without seeds, random transforms draw the same numbers each time."""
        places = [
            [(int(i), derive(*(seeds[k] if seeds else ("plain",)), int(i))) for i in index]
            for k, index in enumerate(indices)
        ]
        loader: Iterable[Any] = DataLoader(
            _Seeded(self.dataset),
            batch_sampler=places,
            num_workers=self.workers,
            collate_fn=self.collate,
            generator=torch.Generator().manual_seed(0),
        )
        for batch in loader:
            if not isinstance(batch, tuple | list) or len(batch) != 2:
                raise DataError(f"a batch of type {type(batch).__name__}: the dataset must give (input, label) pairs")
            yield torch.as_tensor(batch[0]), torch.as_tensor(batch[1])


class _Seeded(Dataset[Any]):
    """A dataset indexed by (index, seed): torch's global generator holds the seed while the sample is made."""

    def __init__(self, dataset: Dataset[Any]) -> None:
        self.dataset = dataset

    def __getitem__(self, place: tuple[int, int]) -> Any:
        index, seed = place
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(seed)
            return self.dataset[index]


def source_of(data: Data | object, recipe: Recipe) -> Source:
    """The source of what a user passed to ``fit``.

    A loader lends its dataset, batch size, workers and collate function; the order of samples is always fit's own.

    Raises:
        DataError: no length, no samples, a custom sampler, or a type that is not known.
    """
    source: Source
    if isinstance(data, DataLoader):
        source = _from_loader(data)
    elif isinstance(data, DataSet) or (isinstance(data, tuple | list) and len(data) == 2):
        source = Held(data if isinstance(data, DataSet) else (data[0], data[1]), recipe.batch_size)
    elif isinstance(data, Dataset):
        source = Loaded(data, recipe.batch_size, recipe.workers)
    else:
        kinds = "a data set of dqt.train.data, a torch Dataset or DataLoader, or a pair (inputs, labels)"
        raise DataError(f"data of type {type(data).__name__}: fit takes {kinds}")
    if len(source) == 0:
        raise DataError("the data has no samples")
    return source


def _from_loader(loader: DataLoader[Any]) -> Source:
    if isinstance(loader.dataset, IterableDataset):
        return Loaded(loader.dataset, 1, 0)
    if not isinstance(loader.sampler, SequentialSampler | RandomSampler) or loader.batch_size is None:
        raise DataError("a DataLoader with a sampler of its own: fit draws its own order; pass the dataset instead")
    return Loaded(loader.dataset, loader.batch_size, loader.num_workers, loader.collate_fn)


def _checked_pair(x: object, y: object) -> int:
    if not isinstance(x, Tensor) or not isinstance(y, Tensor) or len(x) != len(y):
        shapes = " and ".join(str(list(v.shape)) if isinstance(v, Tensor) else type(v).__name__ for v in (x, y))
        raise DataError(f"a pair of {shapes}: need two tensors of equal length, inputs and labels")
    return len(x)
