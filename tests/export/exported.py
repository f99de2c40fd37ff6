"""Exported programs as libraries of this machine, and what the interpreter says that they answer."""

from __future__ import annotations

import ctypes
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import dqt.export
from dqt.arith.plan import PlanLike, resolve
from dqt.program.interpret import execute
from dqt.program.program import Program
from dqt.testing import extremes, inputs
from dqt.testing.objects import called, objects
from tests.native.build import CONTINUOUS

COMPILERS = [name for name in ("gcc", "clang") if CONTINUOUS or shutil.which(name)]
STRICT = ["-std=c99", "-O1", "-Wall", "-Wextra", "-Wconversion", "-Werror"]
SANITIZED = {"gcc": ("-O0", "-fsanitize=undefined", "-fno-sanitize-recover=all")}
"""Compiler -> its flags; a library that clang makes has no runtime of its sanitizer."""
Arrays = dict[str, npt.NDArray[Any]]


class Compiled:
    """An exported program as a library of this machine; ``width``: at these widths alone."""

    def __init__(
        self, program: Program, folder: Path, compiler: str = "gcc", *flags: str, width: PlanLike | None = None
    ) -> None:
        self.program, self.fixed = program, width is not None
        dqt.export.c(program, folder / "c", width=width)
        built = folder / f"net-{compiler}.so"
        command = (compiler, *STRICT, *flags, "-fPIC")
        files = objects(sorted((folder / "c").glob("*.c")), folder, command)
        called(*command, "-shared", "-o", built, *files, "-lm")
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
        widths = () if self.fixed else (self.widths(plan),)
        return self.library.net_run(self.net, pointers(taken), *widths, pointers(list(outs.values()))), outs


def pointers(arrays: list[npt.NDArray[Any]]) -> Any:
    """One array, or an array of them."""
    if len(arrays) == 1:
        return ctypes.c_void_p(arrays[0].ctypes.data)
    return (ctypes.c_void_p * len(arrays))(*(array.ctypes.data for array in arrays))


def by_name(program: Program, x: Any) -> Arrays:
    """Inputs of a batch by name."""
    return dict(x) if isinstance(x, Mapping) else {program.inputs[0].name: x}


def pairs(program: Program) -> PlanLike:
    """A plan of pairs that differ."""
    names, widths = program.layers, program.space.widths
    return {name: (widths[i % len(widths)], widths[(3 * i + 1) % len(widths)]) for i, name in enumerate(names)}


def plans(program: Program) -> list[PlanLike]:
    """Every width, a plan of pairs that differ, and "auto" where the program chooses."""
    chosen: list[PlanLike] = ["auto"] if program.space.choices else []
    return [*program.space.widths, pairs(program), *chosen]


def expected(program: Program, x: Any, plan: PlanLike, state: Arrays | None = None) -> tuple[Arrays, Arrays]:
    """The interpreter's outputs by name for a batch of one, and the states that it leaves."""
    result = execute(program, x, plan, state)
    codes = result.codes if isinstance(result.codes, Mapping) else {program.outputs[0].name: result.codes}
    values = {out.name: value for out in program.outputs for value in program.values if value.name == out.value}
    wanted = {
        name: (codes[name][0] - value.zero).astype(np.float32) * np.float32(value.scale)
        for name, value in values.items()
    }
    return wanted, dict(result.state)


def assert_same_on_random(net: Compiled, plan: PlanLike, seed: int) -> None:
    """One sample of noise and one of extremes equal the interpreter's."""
    for x in (inputs(net.program, 1, seed), extremes(net.program, 1, seed)):
        assert_same(net, x, plan)


def assert_same(net: Compiled, x: Any, plan: PlanLike, state: Arrays | None = None) -> Arrays:
    """One sample equals the interpreter's; the states that it leaves."""
    wanted, state = expected(net.program, x, plan, state)
    answer, got = net.run({name: array[0] for name, array in by_name(net.program, x).items()}, plan)
    assert answer == 0
    for name, array in wanted.items():
        np.testing.assert_array_equal(got[name], array, err_msg=f"{name} at {plan}")
    return state
