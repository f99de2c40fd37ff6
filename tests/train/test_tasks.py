"""Other tasks than classification through the whole road: trained, searched, judged, as a cascade."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import dqt
from dqt.arith.errors import PlanError, TaskError
from dqt.arith.margin import Margin
from dqt.data.errors import DataError
from dqt.nn.net import Net
from dqt.program.evaluate import evaluate
from dqt.train.checkpoint import LAST, Checkpoint, CheckpointError
from dqt.train.fit import History
from dqt.train.loss import objective
from dqt.train.recipe import RecipeError
from dqt.train.search import sensitivity
from dqt.train.sources import source_of
from dqt.train.validate import accuracies
from dqt.train.validate import evaluate as validate

from .shapes import MLP, TwoHeads, UNet, prepared, shapes, table

RECIPE = dqt.Recipe(epochs=6, batch_size=16, lr=0.1, devices=1, reestimate_batches=0)


def fitted(net: Net, train: Any, valid: Any, task: Any, **options: Any) -> History:
    return dqt.fit(net, train, valid, RECIPE, task=task, progress=False, **options)


@cache
def segmenter() -> tuple[Net, History]:
    net = prepared(UNet(), shapes(2)[0])
    recipe = dqt.Recipe(
        epochs=8, batch_size=8, lr=0.01, optimizer="adamw", devices=1, reestimate_batches=0, valid_every=8
    )
    return net, dqt.fit(net, shapes(96), shapes(32, 1), recipe, task="dense", progress=False)


@cache
def regressor() -> tuple[Net, History]:
    net = prepared(MLP(), table(2)[0])
    recipe = RECIPE.model_copy(update={"epochs": 12, "lr": 0.05})
    return net, dqt.fit(net, table(512), table(128, 1), recipe, task="regression", progress=False)


def test_segmentation_learns_and_validates_what_is_served() -> None:
    net, history = segmenter()
    row = history.rows[-1]
    assert row["metric"] == "pixel accuracy"
    assert "accuracy" not in row
    assert row["scores"]["8"] > 0.88  # background alone: 0.78
    x, y = shapes(32, 1)
    program = dqt.lower(net, info={"task": "dense"})
    for b in (8, 4, 2):
        answers = dqt.interpret(program, x.numpy(), b).argmax(1)
        right = float((answers == y.numpy()).mean())
        assert row["scores"][str(b)] == right
        found = evaluate(program, x.numpy(), b)
        assert found.score(y.numpy()) == right
        assert np.array_equal(found.predictions, answers)


def test_positions_that_are_ignored_do_not_count() -> None:
    net, _ = segmenter()
    x, y = shapes(8, 2)
    y = torch.where(torch.rand(y.shape, generator=torch.Generator().manual_seed(0)) < 0.3, 255, y)
    task = dqt.Task.dense(ignore=255)
    answers = dqt.interpret(dqt.lower(net), x.numpy(), 8).argmax(1)
    counted = y.numpy() != 255
    source = source_of((x, y), RECIPE)
    found = accuracies(validate(net, source, (8,), torch.device("cpu"), task=task), (8,))
    assert found["8"] == (answers == y.numpy())[counted].mean()
    lost = float(objective(net, x, y, dqt.Recipe(consistency="none"), task=task).loss.detach())
    assert lost == pytest.approx(float(F.cross_entropy(net(x), y, ignore_index=255).detach()), rel=1e-5)
    with pytest.raises(DataError, match="255 of sample 0 is not a class: need 0 to 2"):
        objective(net, x, y, task="dense")


def test_the_mean_overlap_is_that_of_a_confusion_matrix() -> None:
    net, _ = segmenter()
    x, y = (each.numpy() for each in shapes(16, 3))
    program = dqt.lower(net)
    found = evaluate(program, x, 2, task={"name": "dense", "metric": "mean IoU"})
    counts = np.zeros((3, 3))
    np.add.at(counts, (y, found.predictions), 1)
    overlap = np.diag(counts) / (counts.sum(0) + counts.sum(1) - np.diag(counts))
    assert found.score(y) == pytest.approx(overlap.mean(), rel=1e-12)


def test_a_segmentation_is_searched_and_its_unsure_images_run_again(tmp_path: Path) -> None:
    net, _ = segmenter()
    x, y = shapes(48, 4)
    measured = sensitivity(net, [(x, y)], task="dense")
    assert measured.objective == "cross entropy"
    assert measured.base == pytest.approx(float(F.cross_entropy(net.eval()(x).detach().double(), y)), rel=1e-9)
    plan = dqt.search(net, [(x, y)], bitops=0.5, task="dense")
    assert dqt.cost(net, plan).share <= 0.5
    assert dqt.search(net, [x], bitops=0.5) is not None  # without targets: the divergence from the master
    program = dqt.lower(net, info={"task": "dense"})
    share = dqt.cost(program, 2).share
    cascade = dqt.calibrate_cascade(program, [(x.numpy(), y)], (2, 8), share + 0.5)
    assert cascade.margin == Margin("mean")
    cascade.save(tmp_path / "cascade.json")
    assert dqt.load_plan(tmp_path / "cascade.json") == cascade
    found = evaluate(program, x.numpy(), cascade)
    assert found.share <= share + 0.5
    assert found.score(y.numpy()) >= evaluate(program, x.numpy(), 2).score(y.numpy())
    assert 0 < int((found.bitops == found.bitops.max()).sum()) < len(x)


@pytest.mark.parametrize("positions", ["mean", "low"])
def test_a_margin_is_the_same_in_torch_numpy_and_the_engine(positions: Any) -> None:
    net, _ = segmenter()
    x, _ = shapes(48, 5)
    program = dqt.lower(net)
    codes = dqt.Runtime(program, threads=1).codes(x, 2)
    best = np.sort(codes.astype(np.int64), axis=1)
    each = (best[:, -1] - best[:, -2]).reshape(len(x), -1)
    margin = Margin(positions)
    expected = each.sum(1) * 256 // each.shape[1] if positions == "mean" else np.sort(each, 1)[:, each.shape[1] // 10]
    assert np.array_equal(margin(codes), expected)
    cascade = dqt.Cascade((2, 4, 8), (int(np.median(expected)), int(np.median(expected))), margin)
    defined = dqt.interpret(program, x.numpy(), cascade)
    assert np.array_equal(net(x, cascade, exact=True).numpy(), defined)
    assert np.array_equal(dqt.Runtime(program, threads=1)(x, cascade), defined)


def test_regression_learns_numbers() -> None:
    net, history = regressor()
    x, y = table(128, 1)
    row = history.rows[-1]
    assert row["metric"] == "RMSE"
    assert row["scores"]["8"] < 0.6 * float(y.std())
    outputs = dqt.interpret(dqt.lower(net), x.numpy(), 8).astype(np.float64)
    assert row["scores"]["8"] == pytest.approx(np.sqrt(((outputs - y.numpy()) ** 2).mean()), rel=1e-6)
    gains = [-sum(each["scores"].values()) for each in history.rows]
    assert gains.index(max(gains)) > 0  # the best of the last epochs, by the smaller error


def test_regression_is_searched_and_has_no_cascade() -> None:
    net, _ = regressor()
    x, y = table(64, 2)
    measured = sensitivity(net, [(x, y)], task="regression")
    assert measured.objective == "squared error"
    assert measured.base == pytest.approx(float(F.mse_loss(net.eval()(x).detach().double(), y.double())), rel=1e-6)
    assert sensitivity(net, [x], task="regression").objective == "squared error"
    assert dqt.search(net, [(x, y)], bitops=0.6, task="regression")
    program = dqt.lower(net, info={"task": "regression"})
    with pytest.raises(PlanError, match=r"regression does not say how sure .* choose widths with dqt\.search"):
        dqt.calibrate_cascade(program, [(x.numpy(), y)], (2, 8), 2.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda y: y[:, :1], r"shape \[128, 1\]: need numbers \[128, 2\]"),
        (lambda y: torch.where(torch.arange(128)[:, None] == 5, torch.nan, y), "nan of sample 5 is no finite number"),
        (lambda y: y.to(torch.complex64), "dtype complex64"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(change: Any, message: str) -> None:
    x, y = table(128)
    with pytest.raises(DataError, match=message):
        fitted(prepared(MLP(), x), (x, change(y)), None, "regression")


def box_loss(output: dict[str, Tensor], target: dict[str, Tensor]) -> Tensor:
    assert set(output) == {"kind", "box"}
    return F.cross_entropy(output["kind"], target["label"]) + F.l1_loss(output["box"], target["box"])


class Boxes(TensorDataset):
    """Images with what a detector learns, in a dict."""

    def __getitem__(self, index: int) -> Any:
        x, label, box = (each[index] for each in self.tensors)
        return x, {"label": label, "box": box}


def test_a_loss_of_ones_own_gets_what_the_model_returns() -> None:
    x, _ = shapes(32)
    label, box = torch.arange(32) % 3, torch.rand(32, 4, generator=torch.Generator().manual_seed(0))
    net = dqt.calibrate(prepared(TwoHeads(), x), [x])
    task = dqt.Task(box_loss, lambda *_: 0.0, name="detection", metric_name="AP")
    target = {"label": label, "box": box}
    found = objective(net, x, target, dqt.Recipe(consistency="all"), task=task)
    plain = sum(box_loss(net(x, b), target) for b in (2, 4, 8))
    assert float(found.loss.detach()) == pytest.approx(float(plain.detach()), rel=1e-5)  # type: ignore[union-attr]
    loader = DataLoader(Boxes(x, label, box), batch_size=16)
    before = [float(value) for value in found.losses.values()]
    history = fitted(net, loader, None, task)
    assert history.rows[-1]["losses"]["8"] < before[0]
    assert sensitivity(net, [(x, target)], task=task).objective == "the loss of detection"
    assert sensitivity(net, [x], task=task).objective == "relative squared error"


def test_a_metric_of_ones_own_may_be_of_rows_or_of_the_batch() -> None:
    net, _ = regressor()
    x, y = table(50, 3)
    program = dqt.lower(net)

    def correlation(rows: Any) -> float:
        return float(np.corrcoef(rows[:, 0], rows[:, 1])[0, 1])

    task = dqt.Task(
        F.mse_loss,
        lambda output, target: np.stack([output[:, 0], target[:, 0]], 1),
        total=correlation,
        metric_name="correlation",
    )
    outputs = dqt.interpret(program, x.numpy(), 8)
    expected = np.corrcoef(outputs[:, 0], y[:, 0].numpy())[0, 1]
    assert evaluate(program, x.numpy(), 8, task=task).score(y.numpy()) == pytest.approx(expected, rel=1e-6)
    mean = dqt.Task(F.mse_loss, lambda output, target: np.abs(output - target).mean())
    source = source_of((x, y), RECIPE)
    found = accuracies(validate(net, source, (8,), torch.device("cpu"), task=mean), (8,))
    assert found["8"] == pytest.approx(np.abs(outputs - y.numpy()).mean(), rel=1e-6)
    with pytest.raises(TaskError, match=r"gives an array of shape \[3\] for 50 samples"):
        evaluate(program, x.numpy(), 8, task=dqt.Task(F.mse_loss, lambda *_: np.zeros(3))).score(y.numpy())


def test_a_margin_of_ones_own_decides_on_integers() -> None:
    net, _ = regressor()
    x, y = table(60, 4)
    program = dqt.lower(net)
    task = dqt.Task(F.mse_loss, lambda a, b: ((a - b) ** 2).mean(1), margin=lambda q: -np.abs(q).max(1), higher=False)
    cascade = dqt.calibrate_cascade(program, [(x.numpy(), y)], (2, 8), 1.0, task=task)
    found, low = (evaluate(program, x.numpy(), plan, task=task) for plan in (cascade, 2))
    assert found.score(y.numpy()) <= low.score(y.numpy())
    assert np.array_equal(net(x, cascade, exact=True).numpy(), dqt.interpret(program, x.numpy(), cascade))
    with pytest.raises(PlanError, match="a function of your own cannot be saved"):
        cascade.to_json()
    with pytest.raises(PlanError, match=r"dtype float64.*it decides, so it must be integers \[60\]"):
        dqt.interpret(program, x.numpy(), dqt.Cascade((2, 8), (0,), lambda q: q[:, 0] * 0.5))
    without = dqt.Task(F.mse_loss, lambda *_: 0.0, margin=lambda q: q[:, 0])
    with pytest.raises(dqt.InputError, match="needs targets: pass pairs"):
        dqt.calibrate_cascade(program, [x.numpy()], (2, 8), 1.0, task=without)


def test_a_run_goes_on_with_its_own_task_alone(tmp_path: Path) -> None:
    x, y = table(64)
    net = prepared(MLP(), x)
    fitted(net, (x, y), (x, y), "regression", run_dir=tmp_path)
    assert Checkpoint.load(tmp_path / LAST).info == {"task": "regression"}
    fitted(net, (x, y), (x, y), "regression", run_dir=tmp_path, resume=True)
    own = dqt.Task(F.mse_loss, lambda *_: 0.0, name="mine")
    with pytest.raises(CheckpointError, match="the task was 'regression' and is 'own: mine' now"):
        fitted(net, (x, y), (x, y), own, run_dir=tmp_path, resume=True)


def test_what_is_no_task_is_one_clear_error() -> None:
    x, y = table(16)
    net = prepared(MLP(), x)
    wrong: list[tuple[Any, type[Exception], str]] = [
        ("classes", TaskError, "task 'classes': known are classification, dense, regression, language"),
        ("detection", TaskError, "detection needs a loss and a metric of yours"),
        ({"name": "dense", "colour": 1}, TaskError, "does not have all of the settings colour"),
        ({"name": "dense", "metric": "dice"}, TaskError, "'dice': need 'accuracy' or 'mean IoU'"),
        (3, TaskError, "task 3"),
    ]
    for task, error, message in wrong:
        with pytest.raises(error, match=message):
            objective(net, x, y, task=task)
    with pytest.raises(TaskError, match="the loss of a task is 'hinge'"):
        dqt.Task("hinge", np.mean)  # type: ignore[arg-type]
    with pytest.raises(TaskError, match="the metric of a task is None"):
        dqt.Task("cross entropy", None)  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match="the loss of regression has no labels"):
        objective(net, x, y, dqt.Recipe(label_smoothing=0.1), task="regression")
