"""Where batches come from: one face for data sets, tensors, torch datasets and loaders.

Which samples make a batch is decided outside, by index; what happens to a sample depends on its place alone. So a
run can go on at any step without replaying the ones before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, RandomSampler, SequentialSampler
from torch.utils.data.dataloader import default_collate

from dqt.train.data import ArraySet, DataError, DataSet
from dqt.train.recipe import Recipe
from dqt.train.seeded import Place, Seeded, SeededCollate, WorkerStart, preserved
from dqt.train.seeds import derive
from dqt.train.structures import mapped, taken, tensors

Batch: TypeAlias = tuple[Any, Any]
Seed: TypeAlias = tuple[int | str, ...]
Data: TypeAlias = "DataSet | ArraySet | Dataset[Any] | DataLoader[Any] | tuple[Any, Any]"
"""What ``fit`` takes as data; of a pair, inputs and targets, each may be a tensor, or a dict or tuple of tensors."""


class Source(Protocol):
    """Samples by index.

    Attributes:
        batch_size: samples per step of each process.
        info: what a trained network should remember of its data; may be empty.
        draws_together: whether what is random about a sample follows from its whole batch, not from its own place.
    """

    batch_size: int
    info: dict[str, Any]
    draws_together: bool

    def __len__(self) -> int: ...

    def batches(self, indices: Sequence[Tensor], seeds: Sequence[Seed] | None = None) -> Iterator[Batch]:
        """One batch for each tensor of indices; augmented where ``seeds`` gives one seed for each."""
        ...


class Held:
    """A :class:`DataSet`, or inputs and targets, in memory."""

    draws_together = True

    def __init__(self, data: DataSet | ArraySet | tuple[Any, Any], batch_size: int) -> None:
        self.data, self.batch_size = data, batch_size
        self.info = data.info if isinstance(data, DataSet | ArraySet) else {}
        self._count = len(data) if isinstance(data, DataSet | ArraySet) else _checked_pair(*data)

    def __len__(self) -> int:
        return self._count

    @property
    def labels(self) -> Any:
        """Of all samples, as they were given."""
        return self.data.labels if isinstance(self.data, DataSet | ArraySet) else self.data[1]

    def batches(self, indices: Sequence[Tensor], seeds: Sequence[Seed] | None = None) -> Iterator[Batch]:
        """See :class:`Source`. A pair of tensors has no augmentation."""
        for i, index in enumerate(indices):
            if isinstance(self.data, DataSet | ArraySet):
                yield self.data.batch(index, *(seeds[i] if seeds else ()))
            else:
                x, y = self.data
                yield taken(x, index), taken(y, index)


@dataclass(frozen=True)
class Loading:
    """How a torch dataset is read: the settings of a ``DataLoader`` that ``fit`` keeps.

    ``settings`` are further arguments of the ``DataLoader``, the same for every pass over the data.
    """

    batch_size: int
    workers: int = 0
    collate: Callable[[list[Any]], Any] = default_collate
    worker_init: Callable[[int], object] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


class Loaded:
    """A torch dataset of (input, label), read by a loader of its own; random transforms are seeded by place."""

    draws_together = False

    def __init__(self, dataset: Dataset[Any], loading: Loading) -> None:
        if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__"):
            raise DataError(f"{type(dataset).__name__} has no length and no index: fit needs a map-style dataset")
        self.dataset, self.loading, self.batch_size = dataset, loading, loading.batch_size
        info = getattr(dataset, "info", {})  # others mean something else by it
        self.info: dict[str, Any] = dict(info) if isinstance(info, Mapping) else {}
        self._places: list[list[Place]] = []
        self._generator = torch.Generator()
        self._loader: DataLoader[Any] | None = None

    def __len__(self) -> int:
        return len(self.dataset)

    def batches(self, indices: Sequence[Tensor], seeds: Sequence[Seed] | None = None) -> Iterator[Batch]:
        """See :class:`Source`. Without seeds, random transforms draw the same numbers each time."""
        given: Sequence[Seed] = seeds or [("plain",)] * len(indices)
        places = [[(int(i), derive(*seed, int(i))) for i in index] for index, seed in zip(indices, given, strict=True)]
        # Workers draw their own seed from this: what their start-up draws (worker_init_fn) is new in each epoch, too.
        self._generator.manual_seed(derive("workers", *(given[0] if given else ())))
        batches = iter(self._made(places))
        for _ in places:
            with preserved():  # without workers, this process makes the samples
                batch = next(batches)
            if isinstance(batch, Mapping):
                batch = _of_columns(batch)
            if not isinstance(batch, tuple | list) or len(batch) != 2:
                raise DataError(f"a batch of type {type(batch).__name__}: the dataset must give (input, label) pairs")
            yield _structure(batch[0], "inputs"), _structure(batch[1], "labels")
        next(batches, None)  # the end of the pass ends its workers

    def _made(self, places: list[list[Place]]) -> DataLoader[Any]:
        """The loader of this pass: a new one, unless its workers live on from pass to pass."""
        persistent = bool(self.loading.settings.get("persistent_workers"))
        self._places = self._places if persistent else []
        self._places[:] = places
        how = self.loading
        if self._loader is None or not persistent:
            self._loader = DataLoader(
                Seeded(self.dataset),
                batch_sampler=self._places,
                num_workers=how.workers,
                collate_fn=SeededCollate(how.collate),
                worker_init_fn=WorkerStart(how.worker_init),
                generator=self._generator,
                **how.settings,
            )
        return self._loader


LABELS = ("labels", "label")
"""What the labels of a data set of columns are called, such as Hugging Face's."""


def _of_columns(batch: Mapping[str, Any]) -> Batch:
    """Inputs and labels of a batch by column: the only other column, or several by name.

    Raises:
        DataError: no column of labels, or no other.
    """
    label = next((name for name in LABELS if name in batch), None)
    inputs = {name: values for name, values in batch.items() if name != label}
    if label is None or not inputs:
        raise DataError(
            f"a batch of the columns {', '.join(map(str, batch))}: the dataset must have labels in one called 'labels' "
            "or 'label', and inputs in the others (dataset.rename_column)"
        )
    return (next(iter(inputs.values())) if len(inputs) == 1 else inputs), batch[label]


def _structure(values: Any, what: str) -> Any:
    """Tensors in dicts, tuples and lists stay so; anything else must become one tensor."""
    if not isinstance(values, Tensor) and next(tensors(values), None) is not None:
        return mapped(lambda each: each, values)
    return _tensor(values, what)


def _tensor(values: Any, what: str) -> Tensor:
    try:
        return torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(
            f"{what} of type {type(values).__name__} in a batch ({error}): the dataset must give numbers, inputs as "
            "the model takes them and the class of each sample from 0"
        ) from None


def source_of(data: Data | object, recipe: Recipe) -> Source:
    """The source of what a user passed to ``fit``.

    A loader lends its dataset, batch size, collate function and all that its workers have; the order of samples, and
    what seeds their random transforms, are always fit's own, so its ``shuffle``, ``generator`` and ``drop_last`` are
    not read.

    Raises:
        DataError: no length, no samples, a custom sampler, or a type that is not known.
    """
    source: Source
    if isinstance(data, DataLoader):
        source = _from_loader(data)
    elif isinstance(data, DataSet | ArraySet) or (isinstance(data, tuple | list) and len(data) == 2):
        source = Held(data if isinstance(data, DataSet | ArraySet) else (data[0], data[1]), recipe.batch_size)
    elif isinstance(data, Dataset) or hasattr(data, "column_names"):  # Hugging Face's is none of torch's
        source = Loaded(cast("Dataset[Any]", data), Loading(recipe.batch_size, recipe.workers))
    else:
        kinds = "a data set of dqt.train.data, a torch Dataset or DataLoader, or a pair (inputs, labels)"
        raise DataError(f"data of type {type(data).__name__}: fit takes {kinds}")
    if len(source) == 0:
        raise DataError("the data has no samples")
    return source


KEPT = ("pin_memory", "timeout", "prefetch_factor", "multiprocessing_context", "persistent_workers")
"""Settings of a user's loader that its successor has, too."""


def _from_loader(loader: DataLoader[Any]) -> Source:
    if isinstance(loader.dataset, IterableDataset):
        return Loaded(loader.dataset, Loading(1))
    if not isinstance(loader.sampler, SequentialSampler | RandomSampler) or loader.batch_size is None:
        raise DataError("a DataLoader with a sampler of its own: fit draws its own order; pass the dataset instead")
    settings = {name: getattr(loader, name) for name in KEPT}
    settings["pin_memory"] &= torch.cuda.is_available()  # elsewhere torch warns of it in every epoch
    loading = Loading(loader.batch_size, loader.num_workers, loader.collate_fn, loader.worker_init_fn, settings)
    return Loaded(loader.dataset, loading)


def _checked_pair(x: object, y: object) -> int:
    lengths = {len(each) if each.dim() else -1 for part in (x, y) for each in tensors(part)}
    if len(lengths) != 1 or -1 in lengths or not all(next(tensors(part), None) is not None for part in (x, y)):
        shapes = " and ".join(str(list(v.shape)) if isinstance(v, Tensor) else type(v).__name__ for v in (x, y))
        raise DataError(f"a pair of {shapes}: need two tensors of equal length, inputs and labels")
    return lengths.pop()
