"""The record of a run: sums become the row of an epoch, and the best row is told."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from dqt.nn.net import Net
from dqt.train.record import Record
from dqt.train.watch import TrainingError


def add(record: Record, step: int, master: float, low: float, share: float | None = None) -> list[str]:
    losses = {"8": torch.tensor(master), "2": torch.tensor(low)}
    chosen = None if share is None else torch.tensor(share)
    widths = None if share is None else torch.tensor([[2, 4], [4, 8]])
    return record.add_step(step, losses["8"] + losses["2"], losses, chosen, widths)


def end(record: Record, sums: Tensor | None = None, **accuracy: float) -> dict[str, Any]:
    given = record.sums() if sums is None else sums
    row = record.end_epoch(given, epoch=1, step=2, lr=0.1, seconds=1.23456)
    return row | {"accuracy": accuracy}


def test_a_row_has_the_means_of_its_epoch_and_the_next_one_begins_empty(routed_net: Net) -> None:
    record = Record(routed_net, 10)
    add(record, 0, 1.0, 2.0, 0.25)
    add(record, 1, 0.5, 1.0, 0.75)
    assert record.losses() == {"8": 0.75, "2": 1.5}
    record.warnings += ["a clip dies"]
    assert end(record) == {
        "epoch": 1,
        "step": 2,
        "lr": 0.1,
        "share": 0.5,
        "losses": {"8": 0.75, "2": 1.5},
        "accuracy": {},
        "warnings": ["a clip dies"],
        "seconds": 1.235,
    }
    assert (record.totals, record.warnings) == ({}, [])


def test_sums_of_all_processes_make_the_row(net: Net) -> None:
    one, other = Record(net, 10), Record(net, 10)
    add(one, 0, 1.0, 2.0)
    add(other, 0, 2.0, 4.0)
    assert end(one, one.sums() + other.sums())["losses"] == {"8": 1.5, "2": 3.0}


def test_a_row_is_the_best_when_its_mean_over_plans_is_above_all_before(net: Net) -> None:
    record = Record(net, 10)
    rows = [{"8": 0.5, "2": 0.3}, {"8": 0.4, "2": 0.4}, {"8": 0.7, "2": 0.2, "auto_share": 0.0}]
    assert not record.add_row({"accuracy": {}})
    # equal means are no improvement; the share of "auto" is a cost, not an accuracy
    assert [record.add_row({"accuracy": accuracy}) for accuracy in rows] == [True, False, True]
    assert not record.add_row({"accuracy": {}})
    assert len(record.rows) == 5


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_an_objective_that_is_not_finite_ends_the_run(net: Net, value: float) -> None:
    with pytest.raises(TrainingError, match="step 3: the objective is"):
        Record(net, 10).add_step(3, torch.tensor(value), {"8": torch.tensor(1.0)}, None, None)
    with pytest.raises(TrainingError, match="step 3: the loss of"):
        add(Record(net, 10), 3, value, 1.0)


def test_the_watch_sees_clips_of_weights_and_activations(net: Net) -> None:
    record = Record(net, 10)
    assert record.look_at_clips(0) == []
    with torch.no_grad():
        net.layer("conv").clip.mul_(1e-3)
    assert "the clip of conv.weight dies" in record.look_at_clips(50)[0]
