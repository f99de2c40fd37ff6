"""Other tasks than classification through run files: trained, lowered, judged, searched, reported."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import dqt
from dqt.cli import main
from tests.train.shapes import shapes, table

from .conftest import Call

MODELS = """
from tests.train.shapes import MLP, UNet
"""
OWN = """
import numpy as np
from torch.nn import functional as F
import dqt

def worst(outputs, targets):
    return np.abs(outputs - targets).max(1)

mine = dqt.Task(F.l1_loss, worst, total=np.max, higher=False, name="worst case", metric_name="largest error", unit="mm")
"""
RUN = """
{task}
[model]
factory = "models.py:{model}"

[data]
spec = "npz={data}"
valid = 16

[network]
widths = [2, 4, 8]

[recipe]
epochs = 2
batch_size = 16
optimizer = "adamw"
lr = 0.01
reestimate_batches = 0
"""
KINDS = {
    "dense": ('task = "dense"', "UNet", shapes, "pixel accuracy"),
    "overlap": ('task = { name = "dense", metric = "mean IoU", margin = "low" }', "UNet", shapes, "mean IoU"),
    "regression": ('task = "regression"', "MLP", table, "RMSE"),
    "own": ('task = "own.py:mine"', "MLP", table, "largest error"),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("models.py").write_text(MODELS)
    Path("own.py").write_text(OWN)
    for _, model, make, _ in KINDS.values():
        (x, y), (x_test, y_test) = make(64), make(24, 1)
        np.savez(f"{model}.npz", x_train=x, y_train=y, x_test=x_test, y_test=y_test)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("kind", KINDS)
def test_a_task_of_a_run_file_goes_the_whole_road(kind: str, call: Call) -> None:
    task, model, make, metric = KINDS[kind]
    Path("run.toml").write_text(RUN.format(task=task, model=model, data=f"{model}.npz"))
    trained = call("train", "run.toml", "--run", "run", "--json")
    assert trained.code == 0, trained.err
    row = json.loads(Path("run/history.jsonl").read_text().splitlines()[-1])
    assert row["metric"] == metric
    assert trained.json["scores"] == row["scores"]
    assert call("lower", "run", "-o", "net.dqt").code == 0
    own = ("--task", "own.py:mine") if kind == "own" else ()
    searched = call("search", "run", "--bitops", "0.6", "-o", "plan.json", "--samples", "24")
    assert searched.code == 0, searched.err
    judged = call("eval", "net.dqt", f"npz={model}.npz", *own, "--out", "run", "--json")
    assert judged.code == 0, judged.err
    results = judged.json
    assert results["metric"]["name"] == metric
    x, y = (each.numpy() for each in make(24, 1))
    outputs = dqt.interpret("net.dqt", x, 8)
    best = next(row for row in results["rows"] if row["label"] == "8 bits")
    if kind == "dense":
        assert best["metric_integer"] == (outputs.argmax(1) == y).mean()
    if kind == "regression":
        assert best["metric_integer"] == pytest.approx(np.sqrt(((outputs - y) ** 2).mean()), rel=1e-6)
    if kind == "own":
        assert best["metric_integer"] == pytest.approx(np.abs(outputs - y).max(), rel=1e-6)
    assert best["served"]["equal"] == best["served"]["samples"]
    assert call("report", "run").code == 0
    page, tables = (Path(f"run/report.{suffix}").read_text() for suffix in ("html", "md"))
    assert f"{metric} integer" in tables
    assert f"{metric} of the integer program" in page
    assert "top-1" not in page + tables
    assert "accuracy integer" not in tables.replace("pixel accuracy integer", "")


@pytest.mark.usefixtures("folder")
def test_a_cascade_of_a_run_file(call: Call) -> None:
    Path("run.toml").write_text(RUN.format(task=KINDS["overlap"][0], model="UNet", data="UNet.npz"))
    assert main(["train", "run.toml", "--run", "run", "--json"]) == 0
    assert main(["lower", "run", "-o", "net.dqt", "--json"]) == 0
    found = call("search", "run", "--cascade", "2,8", "--bitops", "0.9", "--json")
    assert found.code == 0, found.err
    assert json.loads(Path("cascade.json").read_text())["margin"] == {"positions": "low", "axis": 1, "output": ""}
    judged = call("eval", "net.dqt", "npz=UNet.npz", "--bits", "2", "--plan", "cascade.json", "--json")
    assert [row["kind"] for row in judged.json["rows"]] == ["uniform", "cascade"]
    Path("run.toml").write_text(RUN.format(task=KINDS["regression"][0], model="MLP", data="MLP.npz"))
    assert main(["train", "run.toml", "--run", "other", "--json"]) == 0
    refused = call("search", "other", "--cascade", "2,8", "--bitops", "0.9")
    assert refused.code == 1
    assert "regression does not say how sure an answer is" in refused.err


@pytest.mark.usefixtures("folder")
def test_a_task_that_is_not_known_or_not_given_is_one_clear_error(call: Call) -> None:
    cases = {
        'task = "segments"': "task: task 'segments': known are classification, dense, regression, language",
        'task = "own.py:theirs"': "task 'own.py:theirs': 'own.py' has no function or class 'theirs'",
        'task = "own.py:worst"': "task 'own.py:worst' raised TypeError",
        'task = "models.py:MLP"': "task 'models.py:MLP': a MLP, not a dqt.Task",
    }
    for task, message in cases.items():
        Path("run.toml").write_text(RUN.format(task=task, model="MLP", data="MLP.npz"))
        done = call("train", "run.toml", "--run", "run")
        assert (done.code, len(done.err.splitlines())) == (1, 1), done.err
        assert message in done.err
    Path("run.toml").write_text(RUN.format(task='task = "own.py:mine"', model="MLP", data="MLP.npz"))
    assert main(["train", "run.toml", "--run", "run", "--json"]) == 0
    assert main(["lower", "run", "-o", "net.dqt", "--json"]) == 0
    done = call("eval", "net.dqt", "npz=MLP.npz")
    assert (done.code, len(done.err.splitlines())) == (1, 1)
    assert "was trained for 'own: worst case', a task of your own: pass it" in done.err
