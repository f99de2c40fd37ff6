"""Programs as C99: compiled with every warning as an error, they give the interpreter's numbers, bit for bit."""

from __future__ import annotations

import ctypes
import errno
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import dqt
import dqt.export
from dqt.arith.errors import PlanError
from dqt.arith.plan import Plan, PlanLike, resolve, uniform
from dqt.cli.app import app
from dqt.export.c99 import layer, write
from dqt.export.c99.arena import bytes_of, over
from dqt.export.c99.code import Code
from dqt.export.c99.forms import forms
from dqt.export.packages import ExportError
from dqt.program.graph import last_reads
from dqt.program.layered import Layered
from dqt.program.operator import operators
from dqt.program.ops.linear import Linear
from dqt.program.program import Program
from dqt.testing import Builder, inputs, random_model, random_program, random_transformer
from tests.export.exported import (
    COMPILERS,
    SANITIZED,
    Arrays,
    Compiled,
    assert_same,
    assert_same_on_random,
    pairs,
    plans,
    pointers,
)

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("make", "seed"), [*product([random_program], range(15)), *product([random_transformer], range(6))]
)
def test_random_programs_at_every_plan(make: Callable[..., Program], seed: int, tmp_path: Path) -> None:
    program = make(seed, auto=seed % 3 == 0)
    compiler = COMPILERS[seed % len(COMPILERS)]
    net = Compiled(program, tmp_path, compiler, *SANITIZED.get(compiler, ()))
    for plan in plans(program):
        assert_same_on_random(net, plan, seed)


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


@pytest.mark.parametrize("seed", range(5))
def test_random_programs_at_one_plan_alone(seed: int, tmp_path: Path) -> None:
    program = random_program(seed + 50, auto=seed % 2 == 0)
    widths = program.space.widths
    for i, plan in enumerate([widths[0], widths[len(widths) // 2], pairs(program)]):
        (tmp_path / str(i)).mkdir()
        net = Compiled(program, tmp_path / str(i), "gcc", *SANITIZED["gcc"], width=plan)
        assert_same_on_random(net, plan, seed)


@pytest.mark.parametrize(("width", "share"), [(8, 1.0), (4, 0.55), (3, 0.55), (2, 0.35)])
def test_what_a_width_never_reads_is_left_out(width: int, share: float) -> None:
    program = Program.load(dqt.example())
    code = Code(program, "net", uniform(program.space, width))
    layers = [op for op in code.ops if isinstance(op, Layered)]
    assert all(op.layer in program.layers for op in layers)  # no controller
    all_widths = sum(layer.packed(Code(program, "net"), op).nbytes for op in layers)
    assert sum(layer.packed(code, op).nbytes for op in layers) <= share * all_widths
    text = write.sources(program, "net", code.plan)["net.c"]
    assert "chooses" not in text
    assert "widths" not in text.partition("net_run(")[2]


@pytest.mark.parametrize("plan", ["auto", dqt.Cascade((2, 8), (5,))])
def test_a_plan_of_several_widths_is_refused(plan: PlanLike, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="runs at several widths: leave width out"):
        dqt.export.c(dqt.example(), tmp_path / "c", width=plan)
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("width", [None, 4, 2])
def test_a_filter_for_each_channel(width: int | None, tmp_path: Path) -> None:
    """Rows and columns that begin and end in the padding, with steps and distances of their own."""
    b = Builder(5, (16, 9, 7), master=8, widths=(2, 3, 4, 8))
    x = b.conv("v0", 16, (3, 3), stride=(2, 1), padding=(1, 2, 2, 1), groups=16)
    x = b.conv(x, 16, (2, 3), padding=(1, 0, 3, 2), dilation=(1, 2), groups=16)
    b.output(b.linear(b.reshape(x, (-1,)), 3, integers=True), "out")
    program = b.build()
    layers = [op for op in program.ops if isinstance(op, Layered)]
    assert [layer.is_depthwise(Code(program, "net"), op) for op in layers] == [True, True, False]
    net = Compiled(program, tmp_path, "gcc", *SANITIZED["gcc"], width=width)
    for plan in plans(program) if width is None else [width]:
        assert_same_on_random(net, plan, 3)


@pytest.mark.parametrize("extreme", [False, True])
@pytest.mark.parametrize("exponents", [(), (1, 2, 1, 0, 2, 0, 1, 0), (2, 2, 2, 2, 2, 2, 1, 0)])
@pytest.mark.parametrize("rule", ["nearest", "midpoint"])
def test_narrowed_weights_need_no_table(rule: str, exponents: tuple[int, ...], extreme: bool, tmp_path: Path) -> None:
    """Rows and places in pairs and alone, and a filter for each channel; weights at both ends of int8. A width alone is
    stored in as few bits as it has.
    """
    program = narrowing(rule == "nearest", exponents, extreme=extreme)
    assert not any(
        layer._way(Code(program, "net"), op, b) == layer.TABLE for op in layers_of(program) for b in range(1, 9)
    )
    net = Compiled(program, tmp_path, "gcc", *SANITIZED["gcc"])
    for plan in plans(program):
        assert_same_on_random(net, plan, 3)
    for b in (2, 3):
        plan = resolve(program.space, dict.fromkeys(program.space.names, b))
        assert isinstance(plan, Plan)
        alone = Code(program, "net", plan)
        assert [layer.stored_bits(alone, op) for op in layers_of(program)] == [2 if b == 2 else 4] * 3
        (folder := tmp_path / str(b)).mkdir()
        assert_same_on_random(Compiled(program, folder, "gcc", *SANITIZED["gcc"], width=plan), plan, 3)


def test_a_range_whose_sums_leave_no_room_is_read_through_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than 65,000 weights of an output would; here int32 is made smaller."""
    monkeypatch.setattr(layer, "INT32", 1 << 14)
    program = narrowing(False, (2,) * 6 + (1, 0), extreme=False)
    assert all(layer._way(Code(program, "net"), op, 2) == layer.TABLE for op in layers_of(program))
    net = Compiled(program, tmp_path, "gcc", *SANITIZED["gcc"])
    for plan in plans(program):
        assert_same_on_random(net, plan, 2)


def narrowing(nearest: bool, exponents: tuple[int, ...], *, extreme: bool) -> Program:
    """A filter for each channel, a convolution and a product with a matrix, at 1 to 8 bits."""
    b = Builder(5, (8, 5, 5), master=8, widths=tuple(range(1, 9)))
    x = b.conv("v0", 8, (3, 3), groups=8)
    x = b.conv(x, 5, (3, 3), padding=(1, 1, 1, 1))
    b.output(b.linear(b.flatten(x), 3, integers=True), "out")
    program = b.build()
    ops = (reading(op, nearest, exponents, extreme=extreme) if isinstance(op, Layered) else op for op in program.ops)
    return replace(program, ops=tuple(ops))


def layers_of(program: Program) -> list[Layered]:
    return [op for op in program.ops if isinstance(op, Layered)]


def reading(op: Layered, nearest: bool, exponents: tuple[int, ...], *, extreme: bool) -> Layered:
    """The layer with this rule and these exponents of its weights; weights 127, 126 and -128 where ``extreme``."""
    ends = np.resize(np.array([127, -128, 126, -127], np.int8), op.weight.shape)
    weight = np.where(np.abs(op.weight) > 64, ends, op.weight) if extreme else op.weight
    return replace(op, nearest=nearest, weight_exponents=exponents, input_exponents=(), weight=weight)


def test_a_packed_program_at_a_width_is_the_whole_one() -> None:
    program = Program.load(dqt.example()).pack(4)
    whole = write.sources(Program.load(dqt.example()), "net", uniform(program.space, 3))
    assert write.sources(program, "net", uniform(program.space, 3)) == whole


def test_a_zero_further_out_than_16_bits_reach(tmp_path: Path) -> None:
    b = Builder(3, (9,), master=8, widths=(2, 5, 8))
    b.output(b.linear("v0", 4, integers=True), "out")
    program = b.build()
    first = program.values[0]
    far = replace(program, values=(replace(first, zero=-(2**15)), *program.values[1:]))
    net = Compiled(far, tmp_path, "gcc", *SANITIZED["gcc"])
    for plan in plans(far):
        assert_same(net, inputs(far, 1, 1), plan)


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
    largest = sorted(map(bytes_of, program.values))[-2:]
    assert max(largest) <= arena <= 1.25 * sum(largest)


def test_values_that_live_at_a_time_have_places_of_their_own() -> None:
    """Or one begins so far behind the other that nothing is lost: such pairs are a window's or an element's."""
    for seed in range(20):
        code = Code(random_program(seed), "net")
        code.place({})
        ends = last_reads(code.ops)
        alive: dict[str, tuple[int, int]] = {}
        for op, dead in zip(code.ops, ends, strict=True):
            out = op.writes()
            if out is not None:
                place = (code.places[out], code.places[out] + bytes_of(code.values[out]))
                shared = dict(over(code.values, code.last, op))
                for name, (start, end) in alive.items():
                    apart = place[1] <= start or end <= place[0]
                    assert apart or (name in dead and start - place[0] >= shared[name]), (seed, op.title(0))
                alive[out] = place
            for name in dead:
                alive.pop(name)


def test_the_library_has_arith_as_it_is() -> None:
    """One file: the engine's own, which the package links to and a wheel holds."""
    assert (ROOT / "src/dqt/export/c99/arith.h").samefile(ROOT / "csrc/arith.h")
    assert write.sources(Program.load(dqt.example()), "net")["arith.h"] == (ROOT / "csrc/arith.h").read_text()


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


def test_a_file_is_never_replaced_by_a_folder(tmp_path: Path) -> None:
    net = tmp_path / "net.dqt"
    Program.load(dqt.example()).save(net)
    before = net.read_bytes()
    with pytest.raises(ExportError, match=r"net\.dqt is a file: give the name of a folder"):
        dqt.export.c(net, net)
    assert net.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["net.dqt"]


def test_a_link_to_a_folder_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "c")
    for width in (2, 4):  # makes what it leads to, and replaces it
        dqt.export.c(dqt.example(), tmp_path / "link", width=width)
        assert (tmp_path / "link").is_symlink()
        program = Program.load(dqt.example())
        written = {path.name: path.read_text() for path in (tmp_path / "c").iterdir()}
        assert written == write.sources(program, "net", uniform(program.space, width))


def test_the_command_line_writes_the_same_files(tmp_path: Path) -> None:
    done = CliRunner().invoke(
        app, ["export", "c", str(dqt.example()), "-o", str(tmp_path / "c"), "--name", "small", "--width", "4"]
    )
    assert done.exit_code == 0, done.output
    written = {path.name: path.read_text() for path in (tmp_path / "c").iterdir()}
    program = Program.load(dqt.example())
    assert written == write.sources(program, "small", uniform(program.space, 4))


def test_a_disk_that_fills_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "c"
    dqt.export.c(dqt.example(), target, width=2)
    before = {path.name: path.read_bytes() for path in target.iterdir()}

    def full(path: Path, text: str) -> None:
        if path.name == "net.c":
            raise OSError(errno.ENOSPC, "cannot be written: no space", str(path))  # as write_file words it
        path.write_text(text)

    monkeypatch.setattr(write, "write_file", full)
    with pytest.raises(OSError, match=r"\(No space left on device\), and is as it was: choose a folder with space"):
        dqt.export.c(dqt.example(), target, width=4)
    assert {path.name: path.read_bytes() for path in target.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_a_plan_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PlanError):
        dqt.export.c(dqt.example(), tmp_path / "c", width={"none of its layers": 4})
    with pytest.raises(PlanError):
        dqt.export.c(dqt.example(), tmp_path / "c", width=9)
    assert not list(tmp_path.iterdir())
