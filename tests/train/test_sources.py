"""Every kind of data gives the same samples for the same indices, and random transforms depend on their place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset, WeightedRandomSampler

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
