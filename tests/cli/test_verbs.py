"""Every verb does its work on a trained network, for people and for machines."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dqt
from dqt.arith.plan import PlanLike
from dqt.cli import main
from dqt.cli.train import shipped
from dqt.program.evaluate import BATCH, evaluate
from dqt.program.interpret import Result, execute, interpret, margins
from dqt.report import load_results
from dqt.runtime import Runtime
from dqt.testing import Builder, inputs
from dqt.train.build import rebuild
from dqt.train.data import load
from dqt.train.processes import Stopped
from dqt.train.seeds import permutation

from .conftest import Call


@pytest.fixture(autouse=True)
def _here(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests run in a folder of their own, where the trained things can be read by their names."""
    for entry in made.iterdir():
        if entry.name not in ("runs", "cascade.json"):  # what a test would write through its link
            (tmp_path / entry.name).symlink_to(entry)
    (tmp_path / "runs").mkdir()
    monkeypatch.chdir(tmp_path)


def test_train_says_where_the_checkpoint_is_and_what_is_next(call: Call) -> None:
    done = call("train", "recipe.toml")
    assert done.code == 0
    assert done.out.splitlines() == ["runs/recipe/best.ckpt", "next: dqt lower runs/recipe"]
    again = call("train", "recipe.toml")
    assert again.code == 1
    assert "already holds a run: resume it" in again.err
    resumed = call("train", "recipe.toml", "--resume", "--json")
    assert resumed.code == 0
    assert resumed.json["epochs"] == 1
    assert set(resumed.json["accuracy"]) == {"8", "4", "2", "auto", "auto_share"}


def test_an_interrupted_training_says_what_was_saved(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: Any, **__: Any) -> None:
        raise Stopped("stopped after step 3 of 9; saved in there: resume")

    monkeypatch.setattr("dqt.train.fit.fit", stopped)
    done = call("train", "recipe.toml")
    assert (done.code, done.out, done.err) == (130, "", "dqt: stopped after step 3 of 9; saved in there: resume\n")


def test_a_controller_is_trained_alone_for_the_network_of_a_checkpoint(call: Call, made: Path, tmp_path: Path) -> None:
    start = made / "runs" / "mine" / "last.ckpt"
    text = (made / "recipe.toml").read_text().replace("[data]", f'checkpoint = "{start}"\n\n[data]')
    text = text.replace("[recipe]", '[recipe]\nlearn = "controller"\nmeasured = 1')
    (tmp_path / "alone.toml").write_text(text)
    done = call("train", "alone.toml", "--json")
    assert done.code == 0, done.err
    assert set(done.json["accuracy"]) == {"auto", "auto_share"}
    assert call("lower", "runs/alone", "-o", "alone.dqt", "--json").code == 0
    assert call("lower", start, "-o", "before.dqt", "--json").code == 0
    x = np.load("x.npy")
    alone, before = dqt.Program.load("alone.dqt"), dqt.Program.load("before.dqt")
    for b in alone.space.widths:
        np.testing.assert_array_equal(interpret(alone, x, b), interpret(before, x, b))


def test_shipped_recipes_are_listed_and_found(call: Call) -> None:
    assert call("train", "--list", "--json").json == sorted(shipped())
    assert "digits" in call("train", "--list").out
    assert "digits" in shipped()


def test_a_data_root_moves_relative_paths(call: Call, made: Path, tmp_path: Path) -> None:
    text = (made / "recipe.toml").read_text().replace('"digits"', '"npz=sets/small.npz"').replace("valid = 40", "")
    (tmp_path / "small.toml").write_text(text)
    test = load("digits").test
    root = tmp_path / "root"
    (root / "sets").mkdir(parents=True)
    np.savez(root / "sets" / "small.npz", x=test.images.numpy(), y=test.labels.numpy())
    assert "no such file" in call("train", "small.toml").err
    assert call("train", "small.toml", "--data-root", root, "--json").code == 0
    found = call("search", "runs/small", "--bitops", 0.9, "--data-root", root, "--samples", 8, "--json")
    assert found.json["samples"] == 8


def test_lower_takes_a_run_or_a_checkpoint(call: Call, made: Path) -> None:
    for source in (made / "runs/mine", made / "runs/mine/best.ckpt"):
        done = call("lower", source, "--out", "mine.dqt", "--json")
        assert done.code == 0
        assert done.json["bytes"] == Path("mine.dqt").stat().st_size
        assert Path("mine.dqt").read_bytes() == (made / "net.dqt").read_bytes()
    assert call("lower", made / "runs/mine", "-o", "mine.dqt").out.startswith("mine.dqt: ")
    info = dqt.Program.load("mine.dqt").info
    assert info["data"] == "digits"
    assert info["classes"] == [str(i) for i in range(10)]


def test_inspect_shows_the_program(call: Call) -> None:
    shown = call("inspect", "net.dqt")
    assert shown.code == 0
    assert str(dqt.Program.load("net.dqt")) in shown.out
    data = call("inspect", "net.dqt", "--json").json
    assert [layer["name"] for layer in data["layers"]] == list(dqt.Program.load("net.dqt").layers)
    assert data["cost"]["8"]["share"] == 1.0
    assert data["instructions"][0]["op"] == "Quantize"


def test_eval_is_the_accuracy_of_interpret(call: Call) -> None:
    data = call("eval", "net.dqt", "digits", "--json").json
    assert [row["label"] for row in data["rows"]] == ["8 bits", "4 bits", "2 bits", "auto"]
    program, test = dqt.Program.load("net.dqt"), load("digits").test
    plans: list[PlanLike] = [8, 4, 2, "auto"]
    for row, plan in zip(data["rows"], plans, strict=True):
        right = dqt.interpret(program, test.inputs(), plan).argmax(1) == test.labels.numpy()
        assert row["accuracy_integer"] == right.mean()
    assert data["rows"][1]["share"] == dqt.cost(program, 4).share
    assert sum(data["auto"]["histogram"]["layer1.0.conv1"].values()) == len(test)
    assert {sample["difficulty"] for sample in data["auto"]["samples"]} == {"easy", "hard", "between"}


def test_eval_runs_what_is_asked_for_and_writes_results(call: Call) -> None:
    dqt.Plan.of(dict.fromkeys(dqt.Program.load("net.dqt").layers, 4)).save("all4.json")
    words = ("eval", "net.dqt", "digits", "--bits", "4,2", "--plan", "all4.json", "--limit", "50", "--out", "runs/new")
    done = call(*words)
    assert done.code == 0
    assert "next: dqt report runs/new" in done.out
    results = load_results("runs/new")
    assert [row.label for row in results.rows] == ["4 bits", "2 bits", "plan all4.json"]
    assert [str(row.kind) for row in results.rows] == ["uniform", "uniform", "plan"]
    assert results.samples == 50
    assert results.rows[2].widths["conv1"] == (4.0, 4.0)
    assert results.model_bytes == Path("net.dqt").stat().st_size


def wrong_engine(monkeypatch: pytest.MonkeyPatch, at: Any) -> None:
    """A native engine that gives one integer too much: in the first sample of a whole batch, under one plan."""
    right = Runtime.execute

    def execute_wrong(self: Runtime, x: Any, plan: PlanLike = None) -> Result:
        result = right(self, x, plan)
        if plan == at and len(x) == BATCH:
            result.codes[0, 0] += 1
        return result

    monkeypatch.setattr(Runtime, "execute", execute_wrong)


def test_eval_compares_what_is_served_with_the_definition(call: Call) -> None:
    dqt.Cascade((2, 8), (2000,)).save("c.json")
    words = ("eval", "net.dqt", "digits", "--bits", "8,2", "--auto", "--plan", "c.json")
    data = call(*words, "--json").json
    assert data["engine"] == "native"
    assert [row["served"] for row in data["rows"]] == [{"samples": 64, "equal": 64}] * 4
    assert "served = defined on 64 of 64 samples in every row" in call(*words).out
    few = call(*words, "--limit", 10, "--json").json
    assert [row["served"] for row in few["rows"]] == [{"samples": 10, "equal": 10}] * 4
    none = call(*words, "--check", 0)
    assert "The integers were not compared" in none.out
    assert none.code == 0
    itself = call("eval", "net.dqt", "digits", "--bits", "2", "--limit", 10, "--engine", "interpret")
    assert "Run by the interpreter itself, which defines the integers." in itself.out
    assert itself.code == 0


@pytest.mark.parametrize("at", [2, "auto", dqt.Cascade((2, 8), (2000,))], ids=str)
def test_an_engine_that_gives_other_integers_is_found_out(
    call: Call, monkeypatch: pytest.MonkeyPatch, at: PlanLike
) -> None:
    dqt.Cascade((2, 8), (2000,)).save("c.json")
    wrong_engine(monkeypatch, at)
    label = {2: "2 bits", "auto": "auto"}.get(at, "cascade c.json")
    words = ("eval", "net.dqt", "digits", "--bits", "8,2", "--auto", "--plan", "c.json", "--out", "runs/wrong")
    done = call(*words)
    assert done.code == 4
    assert "63 of 64" in done.out
    assert f"dqt: The engine's integers are not the defined ones ({label}: equal on 63 of 64 samples)" in done.err
    assert len(done.err.splitlines()) == 1
    rows = {row.label: row for row in load_results("runs/wrong").rows}
    assert [name for name, row in rows.items() if row.differs] == [label]
    machine = call(*words, "--json")
    assert machine.code == 4
    assert sum(row["served"]["equal"] for row in machine.json["rows"]) == 4 * 64 - 1
    shown = call("report", "runs/wrong")
    assert shown.code == 4
    assert label in shown.err
    assert "<td class='differs' data-v='63'>63 of 64</td>" in Path("runs/wrong/report.html").read_text()
    assert "**63 of 64**" in Path("runs/wrong/report.md").read_text()


def test_a_difference_is_red_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    wrong_engine(monkeypatch, 2)
    assert main(["eval", "net.dqt", "digits", "--bits", "8,2"]) == 4
    out, err = capsys.readouterr()
    assert re.search(r"\x1b\[1;31m *63 of 64", out)
    assert not re.search(r"\x1b\[1;31m *64 of 64", out)
    assert "\x1b[1;31mdqt: The engine's integers" in err


def test_report_refuses_a_page_that_is_its_own_table(call: Call, made: Path) -> None:
    done = call("report", made / "runs/mine", "-o", "page.md")
    assert (done.code, Path("page.md").exists()) == (2, False)
    assert "name the page with .html" in done.err


def test_report_writes_the_page_and_the_tables(call: Call, made: Path) -> None:
    done = call("report", made / "runs/mine", "-o", "page.html")
    assert (done.code, done.out.split()) == (0, ["page.html", "page.md"])
    assert Path("page.html").read_text().startswith("<!doctype html>")
    assert "| 8 bits" in Path("page.md").read_text()
    assert call("report", made / "runs/mine/results.json", "-o", "p.html", "--json").json == {
        "page": "p.html",
        "markdown": "p.md",
    }


def test_report_compares_two_runs_and_writes_pictures(call: Call, made: Path) -> None:
    assert call("eval", "net.dqt", "digits", "--bits", "8,2", "--limit", "40", "--time", "--out", "runs/few").code == 0
    results = load_results("runs/few")
    assert all(row.time is not None and row.time.p10 <= row.time.ms <= row.time.p90 for row in results.rows)
    assert "one thread, one sample a call" in str(results.timing)
    done = call("report", "runs/few", made / "runs/mine", "--png", "pictures", "--json")
    assert done.code == 0
    assert done.json["page"] == "runs/few/compare.html"
    assert Path(done.json["pictures"][0]).name == "accuracy-bitops.png"
    assert all(Path(path).exists() for path in done.json["pictures"])
    assert "## Beside another run" in Path("runs/few/compare.md").read_text()
    assert "Run beside run" in Path("runs/few/compare.html").read_text()


@pytest.mark.parametrize("words", [("--engine", "interpret"), ("imagefolder",)])
def test_what_cannot_be_timed_is_refused(call: Call, words: tuple[str, ...]) -> None:
    data, *more = ("digits", *words) if words[0].startswith("--") else ("imagefolder=here",)
    done = call("eval", "net.dqt", data, "--time", *more)
    assert done.code == 1
    assert "--time: " in done.err


def test_search_writes_a_plan_within_its_budget(call: Call, made: Path) -> None:
    words = ("search", made / "runs/mine", "--bitops", 0.5, "-o", "plan.json", "--samples", 32)
    data = call(*words, "--json").json
    assert data["samples"] == 32
    program = dqt.Program.load("net.dqt")
    plan = dqt.Plan.load("plan.json")
    assert dqt.cost(program, plan).share <= 0.5
    assert data["cost"] == dqt.cost(program, plan).as_dict()
    again = call(*words)
    assert again.code == 0
    assert "next: dqt eval NET.dqt DATA --plan plan.json" in again.out
    assert dqt.Plan.load("plan.json") == plan
    assert call("run", "net.dqt", "x.npy", "--plan", "plan.json").code == 0


def test_search_calibrates_a_cascade_that_every_verb_takes(call: Call, made: Path) -> None:
    words = ("search", made / "runs/mine", "--cascade", "2,4,8", "--bitops", 0.9, "-o", "c.json", "--samples", 32)
    data = call(*words, "--json").json
    program, cascade = dqt.Program.load("net.dqt"), dqt.Cascade.load("c.json")
    valid = load("digits", valid=40).valid
    assert valid is not None
    order = permutation(len(valid), 0, "search")[:32]
    batches = [(valid.batch(order)[0].numpy(), valid.labels[order].numpy())]
    assert cascade == dqt.calibrate_cascade(program, batches, (2, 4, 8), bitops=0.9)
    assert data["share"] <= 0.9
    spent = evaluate(program, batches[0][0], cascade)
    assert data == {
        "cascade": "c.json",
        "widths": [2, 4, 8],
        "margins": list(cascade.margins),
        "share": spent.share,
        "samples": 32,
    }
    assert "next: dqt eval NET.dqt DATA --plan c.json" in call(*words).out
    for verb, given in (("run", "x.npy"), ("eval", "digits")):
        assert call(verb, "net.dqt", given, "--plan", "c.json").code == 0
    assert call("bench", "net.dqt", "--plan", "c.json", "--inputs", "x.npy", "--seconds", 0).code == 0
    count = dqt.cost(program, 8).bitops  # above 1: a count, here that of every layer at 8 bits
    assert call(*words[:4], "--bitops", count, "--samples", 32, "--json").json["cascade"] == "cascade.json"


def test_run_says_at_which_widths_a_cascade_ran(call: Call) -> None:
    program, x = dqt.Program.load("net.dqt"), np.load("x.npy")
    sure = np.sort(margins(execute(program, x, 2).codes))
    cascade = dqt.Cascade((2, 8), (int(sure[1]),))  # two of the four samples run again
    cascade.save("c.json")
    data = call("run", "net.dqt", "x.npy", "--plan", "c.json", "-o", "y.npy", "--json").json
    assert np.array_equal(np.load("y.npy"), interpret(program, x, cascade))
    passes = execute(program, x, cascade).passes.tolist()
    assert sorted(passes) == [1, 1, 2, 2]
    assert [sample["passes"] for sample in data["samples"]] == [[2, 8][:count] for count in passes]
    shown = call("run", "net.dqt", "x.npy", "--plan", "c.json").out
    assert "passes at" in shown
    assert shown.count("2 8") == 2


def test_eval_shows_a_cascade_beside_the_rest(call: Call) -> None:
    cascade, program, test = dqt.Cascade((2, 4, 8), (3000, 100)), dqt.Program.load("net.dqt"), load("digits").test
    cascade.save("c.json")
    words = ("eval", "net.dqt", "digits", "--bits", "8", "--plan", "c.json", "--out", "runs/c")
    assert call(*words).code == 0
    row = load_results("runs/c").rows[1]
    answers = evaluate(program, test.inputs(), cascade)
    assert (row.label, row.kind, row.widths) == ("cascade c.json", "cascade", {})
    assert (row.accuracy_integer, row.share) == (answers.accuracy(test.labels), answers.share)
    assert call("report", "runs/c").code == 0
    assert "cascade c.json" in Path("runs/c/report.html").read_text()
    assert "cascade c.json" in Path("runs/c/report.md").read_text()


@pytest.mark.parametrize("source", ["x.npy", "x.npz", "pixels.npy", "images"])
@pytest.mark.parametrize("bits", ["8", "2", "auto"])
def test_run_gives_what_interpret_gives(call: Call, source: str, bits: str) -> None:
    data = call("run", "net.dqt", source, "--bits", bits, "--top", "3", "-o", "y.npy", "--json").json
    program = dqt.Program.load("net.dqt")
    plan: PlanLike = "auto" if bits == "auto" else int(bits)
    expected = dqt.interpret(program, np.load("x.npy"), plan)
    assert np.array_equal(np.load("y.npy"), expected)
    assert data["out"] == "y.npy"
    assert len(data["samples"]) == 4
    for sample, y in zip(data["samples"], expected, strict=True):
        assert sample["top"][0] == {"class": str(y.argmax()), "output": float(y.max())}
        assert len(sample["top"]) == 3
        assert ("widths" in sample) == (bits == "auto")


def test_run_takes_one_image_or_one_sample(call: Call) -> None:
    expected = call("run", "net.dqt", "images/1.png", "--json").json["samples"][0]
    np.save("one.npy", np.load("x.npy")[1])
    found = call("run", "net.dqt", "one.npy", "--json").json["samples"][0]
    assert found["top"] == expected["top"]
    assert expected["name"] == "1.png"
    shown = call("run", "net.dqt", "images/1.png", "--bits", "auto")
    assert shown.code == 0
    assert "widths by layer" in shown.out


def test_the_checkpoint_and_the_program_agree(made: Path) -> None:
    net, _ = rebuild(made / "runs/mine/best.ckpt")
    test = load("digits").test
    exact = net(test.inputs(), 4, exact=True).numpy()
    assert np.array_equal(exact, dqt.interpret(dqt.Program.load("net.dqt"), test.inputs(), 4))


@pytest.mark.parametrize("kind", ["pipe", "file"])
def test_outputs_may_go_to_standard_output(made: Path, kind: str) -> None:
    """Whole, and alone: the words for people are then on standard error."""

    def sent(*words: str) -> tuple[bytes, str]:
        code = f"import sys; from dqt.cli import main; sys.exit(main({list(words)!r}))"
        with Path("sent").open("wb") as file:
            out = subprocess.PIPE if kind == "pipe" else file
            done = subprocess.run([sys.executable, "-c", code], stdout=out, stderr=subprocess.PIPE, check=True)
        return done.stdout if kind == "pipe" else Path("sent").read_bytes(), done.stderr.decode()

    array, words = sent("run", "net.dqt", "x.npy", "-o", "/dev/stdout")
    assert np.array_equal(np.load(io.BytesIO(array)), interpret(dqt.Program.load("net.dqt"), np.load("x.npy")))
    assert "/dev/stdout" in words
    page, words = sent("report", str(made / "runs/mine"), "-o", "/dev/stdout")
    assert page.startswith(b"<!doctype html>")
    assert page.endswith(b"</html>\n")
    assert words == "/dev/stdout\n"
    assert not Path("/dev/stdout.md").exists()
    if kind == "pipe":
        program, words = sent("lower", str(made / "runs/mine"), "-o", "/dev/stdout")
        assert program == Path("net.dqt").read_bytes()
        assert f"{len(program):,} bytes" in words


def test_run_shows_one_number_a_sample(call: Call) -> None:
    b = Builder(1, (4,))
    program = b.build(b.reshape(b.linear("v0", 1, integers=True), ()))
    program.save("number.dqt")
    x = inputs(program, 3)
    np.save("three.npy", x)
    y = interpret(program, x)
    assert y.shape == (3,)
    found = call("run", "number.dqt", "three.npy", "-o", "out.npy", "--json").json["samples"]
    assert [sample["value"] for sample in found] == [float(value) for value in y]
    np.testing.assert_array_equal(np.load("out.npy"), y)
    shown = call("run", "number.dqt", "three.npy").out
    assert all(f"{value:.6g}" in shown for value in y)


def test_the_size_of_a_program_from_a_pipe_is_that_of_its_file(made: Path) -> None:
    line = f"cat {made / 'net.dqt'} | {sys.executable} -m dqt inspect /dev/stdin --json"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["bytes"] == (made / "net.dqt").stat().st_size


def test_report_takes_a_title(call: Call, made: Path, tmp_path: Path) -> None:
    assert call("report", made / "runs/mine", "-o", tmp_path / "p.html", "--title", "A <better> name").code == 0
    assert "<title>A &lt;better&gt; name</title>" in (tmp_path / "p.html").read_text()
    assert (tmp_path / "p.md").read_text().startswith("# A \\<better> name\n")
