"""The C interface and its example, built as C99 and under sanitizers, against the interpreter."""

from __future__ import annotations

import ctypes
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from dqt.arith.plan import Plan, PlanLike
from dqt.program.interpret import execute, interpret
from dqt.program.pixels import pixels_to_inputs
from dqt.program.program import Program
from dqt.shipped import example
from dqt.testing import inputs, random_model, random_program
from tests.native.build import NATIVE, ROOT, built, call, needs

PAGE = ROOT / "docs" / "c-api.md"
pytestmark = [needs(*NATIVE), pytest.mark.timeout(1500)]  # the first of them builds


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the example and of the interface's own test."""
    return built(tmp_path_factory, "address", "run", "capi_test", "capi_many_test")


def check(programs: Path, folder: Path, program: Program, plan: PlanLike, word: str) -> None:
    """The example's floats, classes and widths are the interpreter's."""
    x = inputs(program, 6)
    program.save(folder / "net.dqt")
    x.tofile(folder / "x.f32")
    text = call(programs / "run", folder / "net.dqt", folder / "x.f32", word, folder / "y.f32")
    expected, widths = interpret(program, x, plan), execute(program, x, plan).widths
    got = np.fromfile(folder / "y.f32", np.float32).reshape(expected.shape)
    np.testing.assert_array_equal(got, expected)
    best = expected.reshape(len(x), -1).argmax(1)
    lines = [
        f"sample {i}: class {best[i]}, widths{''.join(f' {b}' for b in chosen)}" for i, chosen in enumerate(widths)
    ]
    assert text.splitlines() == lines


@pytest.mark.parametrize("seed", range(6))
def test_the_example_gives_the_interpreters_floats(seed: int, programs: Path, tmp_path: Path) -> None:
    program = random_program(seed, auto=True)
    for b in program.space.widths:
        check(programs, tmp_path, program, b, str(b))
    check(programs, tmp_path, program, "auto", "auto")
    rng = np.random.default_rng(seed)
    pairs = {name: tuple(int(b) for b in rng.choice(program.space.widths, 2)) for name in program.layers}
    word = ",".join(f"{bw}:{ba}" for bw, ba in pairs.values())
    check(programs, tmp_path, program, Plan.of(pairs), word)


def test_the_example_alone_runs_zeros_at_the_master_width(programs: Path, tmp_path: Path) -> None:
    program = random_program(2)
    program.save(tmp_path / "net.dqt")
    best = interpret(program, np.zeros((1, *program.input_shape), np.float32)).argmax()
    assert call(programs / "run", tmp_path / "net.dqt").startswith(f"sample 0: class {best}, widths ")


def test_the_example_says_what_is_wrong(programs: Path, tmp_path: Path) -> None:
    net, bad = tmp_path / "net.dqt", tmp_path / "bad.f32"
    random_program(2).save(net)
    x = inputs(random_program(2), 1)
    x.flat[0] = np.nan
    x.tofile(bad)
    (tmp_path / "short.f32").write_bytes(b"123")
    cases = {
        (): "usage",
        (tmp_path / "none.dqt",): "none.dqt: No such file",
        (bad,): "bad.f32: ",
        (net, tmp_path / "none.f32"): "cannot be read",
        (net, tmp_path / "short.f32"): "not a whole number of samples",
        (net, bad): "sample 0 of the input holds a NaN",
        (net, "-", "9"): "width 9 of the plan is not one of the program's widths",
        (net, "-", "auto"): "no controller",
        (net, "-", "8,x"): "a width for each layer",
        (net, "-", "2", tmp_path): "cannot be written",
    }
    for arguments, message in cases.items():
        words = [str(word) for word in (programs / "run", *arguments)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 1, arguments
        assert message in done.stderr, arguments


@pytest.mark.parametrize("seed", [1, 4])
def test_packed_files_run_up_to_their_width(seed: int, programs: Path, tmp_path: Path) -> None:
    program = random_program(seed, auto=True)
    *lower, master = program.space.widths
    for width in lower:
        packed = program.pack(width)
        for b in packed.space.held:
            check(programs, tmp_path, packed, b, str(b))
        if packed.space.automatic:
            check(programs, tmp_path, packed, "auto", "auto")
        assert call(programs / "run", tmp_path / "net.dqt").startswith(
            "sample 0: class "
        )  # at the widest that it holds
        words = [str(word) for word in (programs / "run", tmp_path / "net.dqt", "-", master)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert f"width {master} of the plan: this program is packed to {width} bits" in done.stderr


def test_errors_are_codes_with_texts(programs: Path, tmp_path: Path) -> None:
    random_program(4, auto=True).save(tmp_path / "net.dqt")
    assert call(programs / "capi_test", tmp_path / "net.dqt") == "ok\n"


def test_several_arrays_states_and_sizes(programs: Path, tmp_path: Path) -> None:
    program = random_model(3)
    program.save(tmp_path / "net.dqt")
    (height,) = program.dims
    assert call(programs / "capi_many_test", tmp_path / "net.dqt", height.name, height.most) == "ok\n"


def test_the_pages_example_of_states(programs: Path, tmp_path: Path) -> None:
    """Compiled as it stands, and run: the interpreter's reals, run after run."""
    (code,) = re.findall(r"```c\n(#include(?:(?!```).)*dqt_session_new.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / "states.c").write_text(code)
    words = ["gcc", "-std=c99", "-Wall", "-Wextra", "-Werror", "-fsanitize=address,undefined", "states.c"]
    words += [f"-I{ROOT / 'csrc'}", f"-L{programs}", f"-Wl,-rpath,{programs}", "-ldqt", "-o", "states"]
    subprocess.run(words, cwd=tmp_path, check=True)
    program = random_model(3)
    program.save(tmp_path / "net.dqt")
    lines, state = [], None
    zeros = {
        each.name: np.zeros((1, *each.shape), np.int64 if each.kind == "integer" else np.float32)
        for each in program.inputs
    }
    for _ in range(3):
        y, state = interpret(program, zeros, None, state)
        lines += [f"{name} {array.flat[0]:.9g}" for name, array in y.items()]
    assert call(tmp_path / "states", tmp_path / "net.dqt").splitlines() == lines


def test_the_page_names_every_function() -> None:
    page, header = ((ROOT / path).read_text() for path in ("docs/c-api.md", "csrc/dqt.h"))
    names = set(re.findall(r"^DQT_API .*?(dqt_\w+)\(", header, re.MULTILINE))
    assert len(names) == 30
    assert [name for name in sorted(names) if f"`{name}`" not in page and f"{name}(" not in page] == []


def test_pixels_become_floats_in_c_as_in_python(tmp_path: Path) -> None:
    (code,) = re.findall(r"```c\n((?:(?!```).)*void normalize.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / "pixels.c").write_text(code)
    subprocess.run(
        ["cc", "-std=c99", "-O2", "-shared", "-fPIC", "pixels.c", "-o", "pixels.so"], cwd=tmp_path, check=True
    )
    program = Program.load(example())
    shape = program.input_shape
    pixels = np.arange(np.prod(shape)).astype(np.uint8).reshape(shape)  # every value of a byte in every channel
    found = np.empty(shape, np.float32)
    mean, std = (np.array(program.info[name], dtype=np.float64) for name in ("mean", "std"))
    normalize = ctypes.CDLL(str(tmp_path / "pixels.so")).normalize
    given, *places = (ctypes.c_void_p(array.ctypes.data) for array in (pixels, mean, std, found))
    normalize(given, ctypes.c_size_t(shape[0]), ctypes.c_size_t(shape[1] * shape[2]), *places)
    np.testing.assert_array_equal(found, pixels_to_inputs(program, pixels[None])[0])
