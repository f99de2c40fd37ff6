"""Programs with several inputs and outputs: listed, and refused by name where a verb takes one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dqt.testing import Builder, random_model
from tests.cli.conftest import Call


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a program with states stands, and one with two outputs."""
    monkeypatch.chdir(tmp_path)
    random_model(1, auto=True).save("model.dqt")
    b = Builder(2, (1, 8, 8))
    b.output(b.linear(b.flatten("v0"), 10, integers=True), "classes")
    b.output(b.linear(b.flatten("v0"), 4, integers=True), "box")
    b.build().save("heads.dqt")
    return tmp_path


def test_inspect_lists_inputs_outputs_states_and_dimensions(call: Call, folder: Path) -> None:
    program = random_model(1, auto=True)
    answer = call("inspect", folder / "model.dqt")
    assert answer.code == 0
    for line in (
        "input image: ", "xheight (", "input tokens: ", f"integers from {program.inputs[1].lo} to", "output scores: ",
        "output mixed: ", "state past: ", f"dimension height: 1 to {program.dims[0].most}",
    ):  # fmt: skip
        assert line in answer.out
    found = call("inspect", folder / "model.dqt", "--json").json
    assert found["input_shape"] is None
    assert [given["name"] for given in found["inputs"]] == ["image", "tokens", "hint"]
    assert [out["name"] for out in found["outputs"]] == ["scores", "mixed", "tokens"]
    assert [state["name"] for state in found["states"]] == ["past"]
    assert found["dims"] == [{"name": "height", "least": 1, "most": program.dims[0].most}]
    assert call("inspect", folder / "heads.dqt", "--json").json["input_shape"] == [1, 8, 8]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("run", "model.dqt", "x.npy"),
            "this program has 3 inputs, image, tokens, hint: this takes a program with one",
        ),
        (("eval", "model.dqt", "npz=data.npz"), "this program has 3 outputs, scores, mixed, tokens"),
        (("bench", "model.dqt", "--seconds", "0.01"), "this program has 3 inputs, image, tokens, hint"),
        (("bench", "model.dqt", "--seconds", "0.01", "--layers"), "this program has 3 inputs"),
        (("run", "heads.dqt", "x.npy"), "this program has 2 outputs, classes, box: this takes a program with one"),
        (("eval", "heads.dqt", "npz=data.npz"), "this program has 2 outputs, classes, box"),
    ],
)
def test_what_takes_one_input_or_output_says_so(call: Call, folder: Path, words: tuple[str, ...], message: str) -> None:
    np.save(folder / "x.npy", np.zeros((2, 1, 8, 8), np.float32))
    np.savez(folder / "data.npz", x=np.zeros((2, 1, 8, 8), np.float32), y=np.zeros(2, np.int64))
    answer = call(*words)
    assert answer.code == 1
    assert message in answer.err.replace("\n", " ")
    assert "Traceback" not in answer.err


def test_bench_times_a_program_of_several_outputs(call: Call, folder: Path) -> None:
    answer = call("bench", folder / "heads.dqt", "--bits", "8", "--seconds", "0.01", "--json")
    assert answer.code == 0
    assert answer.json["rows"][0]["ms"]["median"] > 0
