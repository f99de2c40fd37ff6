"""Which samples come in which order: a function of seed, epoch, step and rank, whoever asks and whenever."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dqt.data.errors import DataError
from dqt.train.feed import Feed
from dqt.train.sources import Held

CPU = torch.device("cpu")
COUNT, BATCH = 50, 8  # 50 samples: the last, incomplete step of an epoch is left out


def feed(
    *,
    rank: int = 0,
    ranks: int = 1,
    seed: int = 3,
    order: torch.memory_format = torch.channels_last,
    batch: int = BATCH,
) -> Feed:
    x = torch.arange(COUNT, dtype=torch.float32).view(-1, 1, 1, 1).expand(-1, 2, 3, 3)
    return Feed(Held((x, torch.arange(COUNT)), batch), seed, CPU, order, rank=rank, ranks=ranks)


def samples(given: Feed, epoch: int, done: int = 0) -> list[list[int]]:
    return [index.tolist() for index, _, _ in given.epoch(epoch, done)]


def test_a_batch_is_the_samples_it_names_in_the_memory_order_of_the_run() -> None:
    for index, x, y in feed().epoch(0):
        assert torch.equal(x[:, 0, 0, 0].long(), index)
        assert torch.equal(y, index)
        assert x.is_contiguous(memory_format=torch.channels_last)


def test_an_epoch_goes_on_at_any_step_and_the_next_one_has_another_order() -> None:
    whole = samples(feed(), 1)
    assert [len(step) for step in whole] == [8] * 6
    assert len({sample for step in whole for sample in step}) == 48
    assert [samples(feed(), 1, done) for done in range(7)] == [whole[done:] for done in range(7)]
    assert whole != samples(feed(), 0)
    assert whole != samples(feed(seed=4), 1)


def test_processes_share_an_epoch_without_overlap() -> None:
    parts = [[i for step in samples(feed(rank=rank, ranks=2), 0) for i in step] for rank in range(2)]
    assert feed(ranks=2).steps == 3
    assert [len(part) for part in parts] == [24, 24]
    assert not set(parts[0]) & set(parts[1])


def test_processes_draw_together_what_one_process_draws() -> None:
    whole = samples(feed(), 0)
    parts = [samples(feed(rank=rank, ranks=2, batch=BATCH // 2), 0) for rank in range(2)]
    assert [first + second for first, second in zip(*parts, strict=True)] == whole


def test_plain_and_augmented_batches_are_the_same_in_every_process() -> None:
    def values(batches: list[Tensor]) -> list[list[float]]:
        return [x[:, 0, 0, 0].tolist() for x in batches]

    one, other = feed(), feed(rank=1, ranks=2, batch=BATCH // 2)
    assert values(one.plain("calibrate", 2)) == values(other.plain("calibrate", 2))
    assert values(one.augmented("reestimate", 2)) == values(other.augmented("reestimate", 2))
    assert values(one.plain("calibrate", 2)) != values(one.plain("reestimate", 2))
    assert [len(x) for x in one.plain("calibrate", 100)] == [8] * 6 + [2]  # all of them; here the short batch counts


def test_more_processes_than_samples_are_refused() -> None:
    assert feed(ranks=50).steps == 1
    with pytest.raises(DataError, match="50 training samples for 51 processes"):
        feed(ranks=51)
