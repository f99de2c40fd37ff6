"""The engine under sanitizers: the interpreter's integers, and no access, overflow or race that should not be."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

import numpy as np
import pytest

from dqt.arith.plan import Plan, PlanLike
from dqt.program.interpret import execute
from dqt.program.program import Program
from dqt.testing import Builder, inputs, random_model, random_program, random_transformer
from tests.native.build import CONTINUOUS, NATIVE, built, needs
from tests.native.engine import Engine, check, compare
from tests.runtime.fuzz import trial

pytestmark = [needs(*NATIVE), pytest.mark.timeout(1500)]  # the first of them builds
AUTO = [False] * 7 + [True] * 5


@pytest.fixture(scope="session")
def memory(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    test = built(tmp_path_factory, "address", "engine_test") / "engine_test"
    return Engine((str(test),), tmp_path_factory.mktemp("engine"))


@pytest.fixture(scope="session")
def races(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    test = built(tmp_path_factory, "thread", "engine_test") / "engine_test"
    plain: tuple[str, ...] = (str(test),)
    # Old ThreadSanitizers refuse addresses that are more random than they knew: then without randomness, where allowed.
    for command in (plain, ("setarch", "-R", *plain)):
        started = subprocess.run([*command, "--isa"], capture_output=True, text=True, check=False)
        if "unexpected memory mapping" not in started.stderr and "failed to set personality" not in started.stderr:
            return Engine(command, tmp_path_factory.mktemp("engine"))
    message = "NOT tested: this compiler's ThreadSanitizer cannot run on this kernel: sysctl vm.mmap_rnd_bits=28"
    if CONTINUOUS:
        pytest.fail(message)
    pytest.skip(message)


def any_plan(program: Program) -> Plan:
    rng = np.random.default_rng(9)
    return Plan.of({name: tuple(int(b) for b in rng.choice(program.space.widths, 2)) for name in program.layers})


def plans(program: Program) -> list[PlanLike]:
    automatic: list[PlanLike] = ["auto"] if program.space.choices else []
    return [*program.space.widths, any_plan(program), *automatic]


def geometry(
    shape: Sequence[int], kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int, int, int],
    dilation: tuple[int, int], groups: int, count: int,
) -> Program:  # fmt: skip
    b = Builder(7, tuple(shape), signed=count % 2 == 1)
    y = b.conv("v0", count, kernel, stride=stride, padding=padding, dilation=dilation, groups=groups)
    return b.build(y)


GEOMETRY = {
    "stem": geometry((3, 13, 11), (7, 7), (2, 2), (3, 3, 3, 3), (1, 1), 1, 65),
    "odd": geometry((20, 7, 5), (3, 5), (1, 2), (2, 0, 1, 3), (2, 1), 1, 33),
    "pointwise": geometry((32, 5, 5), (1, 1), (2, 2), (0, 0, 0, 0), (1, 1), 1, 130),
    "Winograd": geometry((32, 9, 7), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1, 64),
    "Winograd, odd padding": geometry((33, 8, 7), (3, 3), (1, 1), (0, 2, 3, 1), (1, 1), 1, 128),
    "groups": geometry((20, 7, 9), (3, 3), (2, 1), (1, 1, 1, 1), (1, 2), 5, 15),
    "groups whose padding fills the pixel": geometry((6, 5, 4), (3, 2), (1, 1), (1, 1, 1, 0), (1, 1), 2, 4),
    "depthwise": geometry((67, 5, 7), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 67, 67),
    "depthwise, dilated": geometry((24, 9, 9), (5, 4), (2, 1), (2, 2, 1, 2), (1, 2), 24, 24),
    "one channel": geometry((1, 8, 8), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1, 20),
    "one pixel": geometry((4, 1, 1), (1, 1), (1, 1), (0, 0, 0, 0), (1, 1), 1, 1),
    "wide padding": geometry((2, 1, 2), (3, 3), (1, 1), (5, 4, 3, 6), (2, 2), 2, 4),
}


FAR = 2**24
"""The largest stride, dilation and step: times the bytes of a pixel, it is beyond 32 bits."""


def far_pool(kernel: tuple[int, int], dilation: tuple[int, int]) -> Program:
    b = Builder(9, (300, 3, 4))
    x = b.max_pool("v0", kernel, (FAR, FAR), dilation=dilation)
    return b.build(b.conv(x, 3, (1, 1), padding=(0, 0, 0, 0)))


def far_slice() -> Program:
    b = Builder(9, (300, 3, 4))
    return b.build(b.slice(b.conv("v0", 300), (5, 1, 2), (300, 3, 4), (FAR, FAR, FAR)))


EDGES = {
    "strides": geometry((600, 2, 3), (2, 2), (FAR, FAR), (0, 0, 0, 0), (1, 1), 1, 33),
    "strides of rows alone": geometry((600, 2, 3), (1, 2), (FAR, 1), (0, 0, 0, 0), (FAR, 1), 1, 33),
    "dilations of one tap": geometry((600, 2, 3), (1, 1), (1, 1), (0, 0, 0, 0), (FAR, FAR), 1, 33),
    "rows of taps": geometry((3, 9, 9), (7, 7), (FAR, FAR), (0, 0, 0, 0), (1, 1), 1, 16),
    "depthwise": geometry((400, 2, 3), (2, 1), (FAR, FAR), (0, 0, 0, 0), (1, FAR), 400, 400),
    "depthwise, 3x3": geometry((400, 3, 3), (3, 3), (FAR, FAR), (0, 0, 0, 0), (1, 1), 400, 400),
    "groups": geometry((600, 2, 3), (1, 2), (FAR, FAR), (0, 0, 0, 0), (FAR, 1), 5, 15),
    "padding": geometry((300, 1, 1), (1, 1), (FAR, FAR), (700, 0, 0, 600), (1, FAR), 1, 3),
    "pool": far_pool((2, 2), (1, 1)),
    "pool of one tap": far_pool((1, 1), (FAR, FAR)),
    "slice": far_slice(),
}


@pytest.mark.parametrize("name", EDGES)
def test_products_beyond_32_bits_in_memory(name: str, memory: Engine) -> None:
    check(memory, EDGES[name], inputs(EDGES[name], 2), plans(EDGES[name]), threads=2)


@pytest.mark.parametrize("seed", range(len(AUTO)))
def test_random_programs_in_memory(seed: int, memory: Engine) -> None:
    program = random_program(seed, auto=AUTO[seed])
    check(memory, program, inputs(program, 5, seed), plans(program), threads=1 + seed % 3)


@pytest.mark.parametrize("seed", range(6))
def test_states_and_bound_sizes_in_memory(seed: int, memory: Engine) -> None:
    """Two inputs, three outputs, a state that goes on from run to run, and a height that is another each time."""
    program = random_model(seed, auto=seed % 2 == 1)
    (height,) = program.dims
    for size in (height.least, height.most, height.most):
        x = inputs(program, 3, seed, {height.name: size})
        state = execute(program, x, program.space.master).state
        check(memory, program, x, plans(program), threads=1 + seed % 2, state=state)


@pytest.mark.parametrize("seed", range(8))
def test_transformers_in_memory(seed: int, memory: Engine) -> None:
    """Attention of one position, and of as many as there may be: blocks of rows, heads as views, masks."""
    program = random_transformer(seed, auto=seed % 3 == 2)
    for size in (1, program.dims[0].most):
        x = inputs(program, 2, seed, {program.dims[0].name: size})
        check(memory, program, x, plans(program), threads=1 + seed % 2)


@pytest.mark.parametrize("name", GEOMETRY)
def test_geometries_in_memory(name: str, memory: Engine) -> None:
    program = GEOMETRY[name]
    extremes = np.where(np.random.default_rng(0).random((1, *program.input_shape)) < 0.5, -3e38, 3e38)
    x = np.concatenate([inputs(program, 2), extremes.astype(np.float32)])
    check(memory, program, x, plans(program), threads=2)


def sliced() -> Program:
    """One linear layer that is large enough to be stored in slices."""
    b = Builder(3, (1021,), widths=(2, 3, 6, 8))
    return b.build(b.linear("v0", 1030))


@pytest.mark.parametrize("rows", [1, 6, 18])
def test_slices_in_memory(rows: int, memory: Engine) -> None:
    check(memory, sliced(), inputs(sliced(), rows), plans(sliced()), threads=2)


def test_more_samples_than_a_slice(memory: Engine) -> None:
    program = random_program(5, auto=True)
    check(memory, program, inputs(program, 67), plans(program))


@pytest.mark.parametrize("seed", range(1, 13))
def test_batches_of_mixed_widths_in_memory(seed: int, memory: Engine) -> None:
    one = trial(seed)
    compare(memory, one.program, one.x, one.expected, threads=1 + seed % 2)


def test_states_from_four_threads(races: Engine) -> None:
    program = random_model(1, auto=True)
    check(races, program, inputs(program, 5), plans(program), threads=2, callers=4)


def test_batches_of_mixed_widths_from_four_threads(races: Engine) -> None:
    one = trial(2)
    compare(races, one.program, one.x, one.expected, threads=2, callers=4)


@pytest.mark.parametrize("program", ["random 3", "random 8", "Winograd", "depthwise", "sliced"])
def test_one_engine_from_four_threads(program: str, races: Engine) -> None:
    kind, _, seed = program.partition(" ")
    net = random_program(int(seed), auto=AUTO[int(seed)]) if kind == "random" else GEOMETRY.get(program, sliced())
    rows, sets = 3, races.sets()
    if kind == "sliced":
        rows = 18  # as many as slices are unpacked for
        sets = [isa for isa in sets if isa != "portable"] or sets  # which knows no slices, and takes most of the time
    check(races, net, inputs(net, rows), plans(net), threads=2, callers=4, sets=sets)
