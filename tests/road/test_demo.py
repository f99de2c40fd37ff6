"""The road from end to end on real data: train, lower, search, run, report; shortened to seconds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import dqt
from dqt.arith.plan import PlanLike
from dqt.cli import main
from dqt.cli.train import shipped
from dqt.program.evaluate import evaluate
from dqt.program.interpret import Result
from dqt.report import load_results
from dqt.report.records import Served
from dqt.runtime import Runtime
from dqt.train.data import load


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("road")
    for name, more in (("digits", ["epochs = 2", "valid_every = 2"]), ("digits-controller", ["epochs = 2"])):
        lines = shipped()[name].read_text().splitlines()
        kept = [line for line in lines if not line.startswith(("epochs", "valid_every"))]
        (folder / f"{name}.toml").write_text("\n".join([*kept, *more]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dqt.cli.demo.MEASURED", 256)  # two batches
        for _ in range(2):  # a demo begins anew over what an earlier one left
            assert main(["demo", "--out", str(folder / "demo"), "--recipe", str(folder / "digits.toml")]) == 0
    return folder / "demo"


def test_everything_is_written(out: Path) -> None:
    names = {path.name for path in out.iterdir()}
    files = {"cascade.json", "digits.dqt", "plan.json", "report.html", "report.md", "results.json"}
    assert names == {*files, "run", ".lock"}


def test_the_results_are_those_of_the_program(out: Path) -> None:
    results, program = load_results(out), dqt.Program.load(out / "digits.dqt")
    test = load("digits").test
    assert (results.samples, results.model_bytes) == (len(test), (out / "digits.dqt").stat().st_size)
    rows = {row.label: row for row in results.rows}
    plans: dict[str, PlanLike] = {f"{b} bits": b for b in program.space.widths}
    plans |= {"plan, as 3 bits": dqt.Plan.load(out / "plan.json"), "auto": "auto"}
    for label, plan in plans.items():
        answers = dqt.interpret(program, test.inputs(), plan).argmax(1)
        assert rows[label].accuracy_integer == (answers == test.labels.numpy()).mean()
    assert rows["plan, as 3 bits"].share <= dqt.cost(program, 3).share
    assert rows["random, as auto"].bitops == rows["auto"].bitops


def test_every_row_was_compared_with_the_definition(out: Path) -> None:
    results = load_results(out)
    assert results.engine == "native"
    assert {row.kind for row in results.rows} == {"uniform", "plan", "auto", "random", "cascade"}
    assert all(row.served == Served(samples=64, equal=64) for row in results.rows)
    (row,) = (row for row in results.rows if row.kind == "cascade")
    test, program = load("digits").test, dqt.Program.load(out / "digits.dqt")
    answers = evaluate(program, test.inputs().numpy(), dqt.Cascade.load(out / "cascade.json"))
    assert (row.accuracy_integer, row.share) == (answers.accuracy(test.labels.numpy()), answers.share)


def test_it_learns_and_serves_what_it_learned(out: Path) -> None:
    rows = {row.label: row for row in load_results(out).rows}
    assert rows["8 bits"].score > 0.6  # two epochs; chance is 0.1
    for row in rows.values():
        assert row.agreement is None or row.agreement >= 0.99
    assert load_results(out).auto is not None


def test_the_page_shows_it(out: Path) -> None:
    page = (out / "report.html").read_text()
    assert "<svg" in page
    assert "Easiest" in page
    assert "| auto" in (out / "report.md").read_text().replace("*", "")


TINY = """
[model]
factory = "dqt.train.models:digits_cnn"
args = { planes = [4, 4, 4] }
[data]
spec = "digits"
[network]
widths = [2, 8]
[recipe]
epochs = 1
reestimate_batches = 1
"""


def test_json_is_all_there_is_on_standard_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(TINY)
    capsys.readouterr()
    assert main(["demo", "--out", str(tmp_path / "demo"), "--recipe", str(recipe), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert set(data["exact_equals_interpret"]) == {"8 bits", "2 bits", "plan, as 2 bits"}
    assert all(data["exact_equals_interpret"].values())
    assert all(Path(path).exists() for path in data["files"].values())
    assert data["uniform_at_auto_share"] is None


def test_an_engine_that_gives_other_integers_is_found_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    right = Runtime.execute

    def wrong(self: Runtime, x: Any, plan: PlanLike = None) -> Result:
        result = right(self, x, plan)
        result.codes[-1, 3] -= plan == 2
        return result

    monkeypatch.setattr(Runtime, "execute", wrong)
    (tmp_path / "tiny.toml").write_text(TINY)
    assert main(["demo", "--out", str(tmp_path / "demo"), "--recipe", str(tmp_path / "tiny.toml")]) == 4
    out, err = capsys.readouterr()
    assert "63 of 64" in out
    assert "dqt: The engine's integers are not the defined ones (2 bits: equal on 63 of 64 samples)" in err
    assert [row.differs for row in load_results(tmp_path / "demo").rows] == [False, True, False]
    assert "class='differs'" in (tmp_path / "demo" / "report.html").read_text()
