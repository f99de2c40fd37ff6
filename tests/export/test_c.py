"""Programs as C99: compiled with every warning as an error, they give the interpreter's numbers, bit for bit."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import dqt
import dqt.export
from dqt.arith.plan import PlanLike
from dqt.cli.app import app
from dqt.export.c99 import layer, write
from dqt.export.c99.forms import forms
from dqt.export.packages import ExportError
from dqt.program.execute import Machine
from dqt.program.operator import operators
from dqt.program.ops.linear import Linear
from dqt.program.program import Program
from dqt.testing import extremes, inputs, random_model, random_program, random_transformer
from tests.export.exported import COMPILERS, SANITIZED, Arrays, Compiled, assert_same, plans, pointers

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("seed", range(15))
def test_random_programs_at_every_plan(seed: int, tmp_path: Path) -> None:
    program = random_program(seed, auto=seed % 3 == 0)
    compiler = COMPILERS[seed % len(COMPILERS)]
    net = Compiled(program, tmp_path, compiler, *SANITIZED.get(compiler, ()))
    for plan in plans(program):
        for x in (inputs(program, 1, seed), extremes(program, 1, seed)):
            assert_same(net, x, plan)


@pytest.mark.parametrize("seed", range(4))
def test_several_inputs_outputs_and_states(seed: int, tmp_path: Path) -> None:
    program = random_model(seed, auto=seed % 2 == 0)
    program = program.bind(height=program.dims[0].most - seed % 2)
    net = Compiled(program, tmp_path, "gcc", *SANITIZED["gcc"])
    state: Arrays | None = None
    for run, plan in enumerate(plans(program)):  # each run goes on from the one before
        state = assert_same(net, inputs(program, 1, seed + run), plan, state)


def test_the_shipped_network(tmp_path: Path) -> None:
    program = Program.load(dqt.example())
    net = Compiled(program, tmp_path, "gcc", "-O2")
    widths: list[PlanLike] = [*program.space.widths, "auto"]
    for seed, plan in enumerate(widths):
        x = np.random.default_rng(seed).normal(size=(1, *program.input_shape)).astype(np.float32)
        assert_same(net, x, plan)


@pytest.mark.parametrize("seed", range(6))
def test_transformers_at_every_plan(seed: int, tmp_path: Path) -> None:
    program = random_transformer(seed, auto=seed % 2 == 0)
    compiler = COMPILERS[seed % len(COMPILERS)]
    net = Compiled(program, tmp_path, compiler, *SANITIZED.get(compiler, ()))
    for plan in plans(program):
        for x in (inputs(program, 1, seed), extremes(program, 1, seed)):
            assert_same(net, x, plan)


def test_every_operator_has_a_form() -> None:
    assert set(forms()) == set(operators().values())


def test_an_operator_without_a_form_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    program = Program.load(dqt.example())
    monkeypatch.setattr(layer, "FORMS", {k: form for k, form in layer.FORMS.items() if k is not Linear})
    with pytest.raises(ExportError, match=r"Linear '.*' has no C form: leave it outside the network"):
        write.sources(program, "net")


def test_a_width_that_the_network_does_not_have_is_refused(tmp_path: Path) -> None:
    program = Program.load(dqt.example())
    net = Compiled(program, tmp_path)
    x, out = np.zeros(program.input_shape, np.float32), np.full(100, 7, np.float32)
    wrong = (ctypes.c_uint8 * (2 * len(program.layers)))(*[9] * (2 * len(program.layers)))
    assert net.library.net_run(net.net, pointers([x]), wrong, pointers([out])) == 1
    assert (out == 7).all()  # nothing has run


def test_the_arena_holds_what_lives_and_little_more() -> None:
    program = Program.load(dqt.example())
    text = write.sources(program, "net")["net.h"]
    arena = int(next(line.split()[2] for line in text.splitlines() if "NET_ARENA " in line))
    machine = Machine(program, "auto", None)  # type: ignore[arg-type] # nothing runs
    values = {value.name: int(np.prod(value.shape)) * (1 if value.coded else 4) for value in program.values}
    live, most = 0, 0
    for op, dead in zip(machine.ops, machine.dead, strict=True):
        live += values.get(op.writes() or "", 0)
        most = max(most, live)
        live -= sum(values[name] for name in dead)
    rows = max(int(op.weight[0].size) for op in machine.ops if hasattr(op, "weight"))
    assert most <= arena <= 1.25 * most + rows + 64


def test_the_library_has_arith_as_it_is() -> None:
    assert (ROOT / "src/dqt/export/c99/arith.h").read_bytes() == (ROOT / "csrc/arith.h").read_bytes()


def test_a_folder_with_other_files_stays_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("kept")
    with pytest.raises(ExportError, match=r"holds mine\.txt.*choose a folder of its own"):
        dqt.export.c(dqt.example(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_export_replaces_an_earlier_one(tmp_path: Path) -> None:
    for _ in range(2):
        dqt.export.c(dqt.example(), tmp_path / "c")
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


@pytest.mark.parametrize("name", ["", "1net", "a b", "dqt", "layer", "net;"])
def test_a_name_that_is_no_identifier(name: str, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="need a C identifier"):
        dqt.export.c(dqt.example(), tmp_path / "c", name=name)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="cannot be written") as caught:
        dqt.export.c(dqt.example(), tmp_path / "file" / "c")
    assert caught.value.filename == str(tmp_path / "file" / "c")
    with pytest.raises(OSError, match="cannot be written"):
        dqt.export.c(dqt.example(), tmp_path / "missing" / "c")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_command_line_writes_the_same_files(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["export", "c", str(dqt.example()), "-o", str(tmp_path / "c"), "--name", "small"])
    assert done.exit_code == 0, done.output
    written = {path.name: path.read_text() for path in (tmp_path / "c").iterdir()}
    assert written == write.sources(Program.load(dqt.example()), "small")
