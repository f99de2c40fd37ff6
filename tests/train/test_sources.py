"""Every kind of data gives the same samples for the same indices, and random transforms depend on their place."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset, WeightedRandomSampler
from torch.utils.data.dataloader import default_collate

from dqt.train.data import DataError, load
from dqt.train.recipe import Recipe
from dqt.train.sources import source_of

from .conftest import tiny_data

INDICES = [torch.tensor([3, 1, 40]), torch.tensor([0, 47])]


class Noisy(Dataset[tuple[Tensor, int]]):
    """A user's dataset with a random transform."""

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return torch.rand(2) + index, index


class Endless(IterableDataset[int]):
    def __iter__(self) -> Iterator[int]:
        return iter(range(10))


def test_tensors_datasets_and_loaders_agree() -> None:
    x, y = tiny_data()
    kinds: list[Any] = [(x, y), TensorDataset(x, y), DataLoader(TensorDataset(x, y), batch_size=7, shuffle=True)]
    for kind in kinds:
        source = source_of(kind, Recipe(batch_size=16))
        assert len(source) == 48
        for index, (images, targets) in zip(INDICES, source.batches(INDICES), strict=True):
            assert torch.equal(images, x[index])
            assert torch.equal(targets, y[index])
    assert source_of(kinds[0], Recipe(batch_size=16)).batch_size == 16
    assert source_of(kinds[2], Recipe(batch_size=16)).batch_size == 7


@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")  # on a machine of one core
@pytest.mark.parametrize("workers", [0, 2])
def test_random_transforms_follow_the_place_and_leave_the_global_generator_alone(workers: int) -> None:
    source = source_of(Noisy(), Recipe(workers=workers))
    indices = [torch.tensor([3, 1]), torch.tensor([1, 2])]
    seeds = [(0, "augment", 0, 0), (0, "augment", 0, 1)]
    state = torch.get_rng_state()
    first = [x for x, _ in source.batches(indices, seeds)]
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first[1], next(x for x, _ in source.batches(indices[1:], seeds[1:])))
    assert not torch.equal(first[0][1], first[1][0])


class Drawing(Dataset[tuple[Tensor, int]]):
    """Draws from all three global generators, as the transforms of different libraries do."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return torch.tensor([float(torch.rand(())), np.random.rand(), random.random()]), index  # noqa: NPY002


def mixing(samples: list[tuple[Tensor, int]]) -> tuple[Tensor, Tensor]:
    """A collate function that draws once a batch."""
    x, y = (torch.as_tensor(part) for part in default_collate(samples))
    return torch.cat([x, torch.full((len(x), 1), np.random.rand())], 1), y  # noqa: NPY002


WORKERS_DRAWS: list[float] = []


def draw_at_start(_: int) -> None:
    WORKERS_DRAWS.append(float(torch.rand(())))


class AtStart(Drawing):
    """Gives what ``worker_init_fn`` drew, and which process made the sample."""

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return torch.tensor([*WORKERS_DRAWS, float(os.getpid())]), index


def epochs(data: Any, count: int = 2, first: int = 0) -> list[Tensor]:
    """The inputs of some epochs of two batches, as fit asks for them."""
    source = source_of(data, Recipe())
    indices = list(torch.split(torch.arange(8), 4))
    made = []
    for epoch in range(first, count):
        seeds: list[Any] = [(0, "augment", epoch, step, 0) for step in range(2)]
        made.append(torch.cat([x for x, _ in source.batches(indices, seeds)]))
    return made


@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")  # on a machine of one core
def test_every_sample_of_every_epoch_draws_anew_from_every_generator_and_alike_in_any_worker() -> None:
    loaders = [DataLoader(Drawing(), 4, num_workers=n, collate_fn=mixing) for n in (0, 1, 2)]
    loaders.append(DataLoader(Drawing(), 4, num_workers=1, collate_fn=mixing, persistent_workers=True))
    states = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # type: ignore[index] # noqa: NPY002
    first, *others = [epochs(loader) for loader in loaders]
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.random.get_state()[1].tolist() == states[1]  # type: ignore[index] # noqa: NPY002
    assert random.getstate() == states[2]
    for made in others:
        assert all(torch.equal(a, b) for a, b in zip(made, first, strict=True))
    assert torch.equal(epochs(loaders[0], first=1)[0], first[1]), "a resumed run draws what an uninterrupted one does"
    draws = torch.cat(first)
    assert all(len(set(column.tolist())) == 16 for column in draws[:, :3].T)
    assert len(set(draws[:, 3].tolist())) == 4, "one draw of the collate function for each batch"


@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")
@pytest.mark.parametrize("persistent", [False, True])
def test_a_users_loader_keeps_its_workers_start_and_their_lives(persistent: bool) -> None:
    loader = DataLoader(AtStart(), 4, num_workers=1, worker_init_fn=draw_at_start, persistent_workers=persistent)
    (one, two) = epochs(loader)
    assert (one[0, 0] == two[0, 0]) == persistent, "what a worker draws when it starts is new in every epoch"
    assert (one[0, 1] == two[0, 1]) == persistent, "persistent workers live on"
    assert not WORKERS_DRAWS


def test_a_data_set_brings_its_info_and_augments_with_a_seed_alone() -> None:
    train = load("digits").train
    source = source_of(train, Recipe())
    assert source.info["data"] == "digits"
    (plain,) = [x for x, _ in source.batches([torch.arange(8)])]
    (shifted,) = [x for x, _ in source.batches([torch.arange(8)], [(0, "augment", 0, 0)])]
    assert torch.equal(plain, train.inputs(slice(0, 8)))
    assert not torch.equal(plain, shifted)


def test_data_that_does_not_fit_is_refused() -> None:
    x, y = tiny_data()
    weighted = DataLoader(TensorDataset(x, y), sampler=WeightedRandomSampler([1.0] * 48, 48))
    cases: list[tuple[object, str]] = [
        (Endless(), "fit needs a map-style dataset"),
        (DataLoader(Endless()), "fit needs a map-style dataset"),
        (weighted, "a sampler of its own"),
        ((x, y[:3]), r"a pair of \[48, 1, 6, 6\] and \[3\]"),
        ((x, [1, 2]), "a pair of .* and list"),
        ((x[:0], y[:0]), "no samples"),
        (3, "data of type int: fit takes"),
    ]
    for data, message in cases:
        with pytest.raises(DataError, match=message):
            source_of(data, Recipe())
    alone = source_of(TensorDataset(x), Recipe())
    with pytest.raises(DataError, match=r"must give \(input, label\) pairs"):
        next(alone.batches(INDICES))
