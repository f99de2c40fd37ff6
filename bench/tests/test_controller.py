"""A late controller behind a finished program: what it says is what runs, and it costs what it may."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import dqt
from bench import controller
from bench.controller import Answers, Subject, once
from bench.controller_times import beside_cascade, fastest
from bench.robust import CASCADES
from dqt.arith.plan import AUTO
from dqt.program.interpret import execute
from dqt.program.program import Program
from dqt.train.data import DataSet, load
from dqt.train.models import digits_cnn


def digits() -> tuple[Program, DataSet]:
    """A calibrated network of random weights, whose labels are what it says at 8 bits itself."""
    torch.manual_seed(0)
    data = load("digits", valid=200).test
    net = dqt.calibrate(dqt.prepare(digits_cnn().eval(), data.inputs(slice(2))), [data.inputs(slice(64))])
    return dqt.lower(net), data


def test_what_is_taught_runs_behind_the_program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(controller.MODELS, "digits", digits_cnn)
    monkeypatch.setattr(controller, "RECIPE", controller.RECIPE.model_copy(update={"epochs": 20, "batch_size": 64}))
    program, data = digits()
    subject = Subject("digits", program)
    codes = subject.answers(data).codes
    tested = Answers(codes, codes[-1].argmax(1).astype(np.int64))
    budget = subject.network.budget(4.0)
    figures, made = once(subject, data, tested, np.arange(len(data)), tested, budget, seed=0)
    x = data.inputs().numpy()
    assert np.array_equal(dqt.interpret(made, x, 8), dqt.interpret(program, x, 8))
    assert set(np.unique(execute(made, x, AUTO).widths[:, 1:-1])) <= set(CASCADES)
    assert figures["share"] <= 100 * budget * 1.001  # it learned from these very images
    assert 1 < figures["runs"] <= 2
    made.save(tmp_path / "with.dqt")
    assert Program.load(tmp_path / "with.dqt").again


def test_the_fastest_is_the_fastest_of_those_that_lose_little() -> None:
    rows = [
        {"kind": "uniform", "label": "2 bits", "held_out": 88.0, "top1": 88.0, "time": 0.5},
        {"kind": "uniform", "label": "8 bits", "held_out": 92.0, "top1": 91.0, "time": 1.0},
        {"kind": "cascade", "label": "2 then 8", "held_out": 91.9, "top1": 90.5, "time": 0.7},
        {"kind": "controller", "label": "12 %", "held_out": 91.89, "top1": 90.9, "time": 0.6},
        {"kind": "all stop", "label": "all stop", "held_out": 95.0, "top1": 95.0, "time": 0.5},
    ]
    assert fastest(rows)["label"] == "2 then 8"
    assert fastest(rows, "controller") == {}
    assert fastest(rows, on="top1")["label"] == "12 %"


def test_a_controller_stands_beside_the_cascade_of_its_budget() -> None:
    rows = [
        {"kind": "cascade", "label": "15 %: 2 then 4", "held_out": 90.0, "top1": 90.0, "time": 1.0},
        {"kind": "cascade", "label": "20 %: 2 then 8", "held_out": 91.0, "top1": 91.0, "time": 1.2},
        {"kind": "controller", "label": "15 %: 2, 4", "held_out": 90.0, "top1": 90.5, "time": 0.91},
        {"kind": "controller", "label": "12 %: 2, 4", "held_out": 89.5, "top1": 89.0, "time": 0.9},
        {"kind": "controller", "label": "10 %: 2, 4", "held_out": 88.5, "top1": 89.9, "time": 0.5},
    ]
    cascade, own = beside_cascade(rows, 0.15)
    assert (cascade["label"], own["label"]) == ("15 %: 2 then 4", "12 %: 2, 4")  # chosen on held-out images
    assert beside_cascade(rows[:3], 0.15)[1] == {}
