"""Programs as C99: compiled with every warning as an error, they give the interpreter's numbers, bit for bit."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from typer.testing import CliRunner

import dqt
import dqt.export
from dqt.arith.plan import PlanLike, resolve
from dqt.cli.app import app
from dqt.export.c99 import write
from dqt.export.c99.code import Code
from dqt.export.c99.forms import LACKING, add, forms
from dqt.export.packages import ExportError
from dqt.program.execute import Machine
from dqt.program.interpret import execute
from dqt.program.operator import operators
from dqt.program.ops.softmax import Softmax
from dqt.program.program import Program
from dqt.testing import extremes, inputs, random_model, random_program

ROOT = Path(__file__).parents[2]
COMPILERS = [name for name in ("gcc", "clang") if shutil.which(name)]
STRICT = ["-std=c99", "-O1", "-Wall", "-Wextra", "-Wconversion", "-Werror"]
SANITIZED = ["-fsanitize=undefined", "-fno-sanitize-recover=all"]
Arrays = dict[str, npt.NDArray[Any]]


class Compiled:
    """An exported program as a library of this machine."""

    def __init__(self, program: Program, folder: Path, compiler: str = "gcc", *flags: str) -> None:
        self.program = program
        dqt.export.c(program, folder / "c")
        built = folder / f"net-{compiler}.so"
        code = [str(path) for path in sorted((folder / "c").glob("*.c"))]
        done = subprocess.run(
            [compiler, *STRICT, *flags, "-fPIC", "-shared", "-o", str(built), *code, "-lm"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        self.library = ctypes.CDLL(str(built))
        self.net = ctypes.create_string_buffer(1 << 20)
        self.library.net_init(self.net)

    def widths(self, plan: PlanLike) -> Any:
        """What ``net_run`` takes for a plan."""
        if plan == "auto":
            return ctypes.byref(ctypes.c_char.in_dll(self.library, "net_auto"))
        resolved = resolve(self.program.space, plan)
        assert not isinstance(resolved, str)
        pairs = dict(resolved.items_)  # type: ignore[union-attr]
        flat = [b for name in self.program.layers for b in pairs[name]]
        return (ctypes.c_uint8 * len(flat))(*flat)

    def run(self, x: Arrays, plan: PlanLike) -> tuple[int, Arrays]:
        """Its answer for one sample, and the outputs by name."""
        values = {value.name: value for value in self.program.values}
        outs = {o.name: np.zeros(values[o.value].shape, np.float32) for o in self.program.outputs}
        taken = [np.ascontiguousarray(x[g.name], np.float32 if g.kind == "float" else np.int32)
                 for g in self.program.inputs]  # fmt: skip
        answer = self.library.net_run(self.net, _pointers(taken), self.widths(plan), _pointers(list(outs.values())))
        return answer, outs


def _pointers(arrays: list[npt.NDArray[Any]]) -> Any:
    if len(arrays) == 1:
        return ctypes.c_void_p(arrays[0].ctypes.data)
    return (ctypes.c_void_p * len(arrays))(*(array.ctypes.data for array in arrays))


def by_name(program: Program, x: Any) -> Arrays:
    return dict(x) if isinstance(x, Mapping) else {program.inputs[0].name: x}


def plans(program: Program) -> list[PlanLike]:
    names, widths = program.layers, program.space.widths
    pairs = {name: (widths[i % len(widths)], widths[(3 * i + 1) % len(widths)]) for i, name in enumerate(names)}
    chosen: list[PlanLike] = ["auto"] if program.space.choices else []
    return [*widths, pairs, *chosen]


def assert_same(net: Compiled, x: Any, plan: PlanLike, state: Arrays | None = None) -> Arrays:
    """One sample equals the interpreter's; the states that it leaves."""
    program = net.program
    result = execute(program, x, plan, state)
    codes = result.codes if isinstance(result.codes, Mapping) else {program.outputs[0].name: result.codes}
    values = {value.name: value for value in program.values}
    answer, got = net.run({name: array[0] for name, array in by_name(program, x).items()}, plan)
    assert answer == 0
    for out in program.outputs:
        value = values[out.value]
        wanted = (codes[out.name][0] - value.zero).astype(np.float32) * np.float32(value.scale)
        np.testing.assert_array_equal(got[out.name], wanted, err_msg=out.name)
    return dict(result.state)


@pytest.mark.parametrize("seed", range(15))
def test_random_programs_at_every_plan(seed: int, tmp_path: Path) -> None:
    program = random_program(seed, auto=seed % 3 == 0)
    net = Compiled(program, tmp_path, COMPILERS[seed % len(COMPILERS)], *SANITIZED)
    for plan in plans(program):
        for x in (inputs(program, 1, seed), extremes(program, 1, seed)):
            assert_same(net, x, plan)


@pytest.mark.parametrize("seed", range(4))
def test_several_inputs_outputs_and_states(seed: int, tmp_path: Path) -> None:
    program = random_model(seed, auto=seed % 2 == 0)
    program = program.bind(height=program.dims[0].most - seed % 2)
    net = Compiled(program, tmp_path, "gcc", *SANITIZED)
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


def test_every_operator_has_a_form_or_is_named() -> None:
    assert {*forms(), *LACKING} == set(operators().values())
    assert not set(forms()) & set(LACKING)


def test_an_operator_without_a_form_is_named() -> None:
    program = Program.load(dqt.example())
    op = object.__new__(Softmax)
    object.__setattr__(op, "x", program.ops[0].writes())
    object.__setattr__(op, "out", "weights")
    with pytest.raises(ExportError, match=r"Softmax 'weights' has no C form: leave it outside the network"):
        add(Code(program, "net"), op)


def test_a_width_that_the_network_does_not_have_is_refused(tmp_path: Path) -> None:
    program = Program.load(dqt.example())
    net = Compiled(program, tmp_path)
    x, out = np.zeros(program.input_shape, np.float32), np.full(100, 7, np.float32)
    wrong = (ctypes.c_uint8 * (2 * len(program.layers)))(*[9] * (2 * len(program.layers)))
    assert net.library.net_run(net.net, _pointers([x]), wrong, _pointers([out])) == 1
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
