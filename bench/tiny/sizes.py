"""Flash, RAM and instructions of exported C: firmware under QEMU, and this machine beside TensorFlow Lite Micro."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from bench.tiny.networks import FOLDER, INT8
from dqt.arith.plan import PlanLike
from dqt.export.c99.arena import bytes_of
from dqt.export.c99.write import c
from dqt.program.interpret import interpret
from dqt.program.layered import Layered
from dqt.program.program import Program
from dqt.program.schema import size
from dqt.testing.cortex import TARGETS, Firmware

HERE = Path(__file__).parent
WIDTHS = (8, 4, 2)
COUNTED: dict[str, tuple[int | None, ...]] = {"cortex-m4": (None, *WIDTHS), "cortex-m55": (None,)}
VALGRIND = ("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null")
FEW = 10_000_000
"""Two starts of a Python process differ by some millions of instructions."""
COLLECTED = re.compile(r"Collected : (\d+)")


def call(*words: object) -> str:
    """What a command prints, its errors too; it must succeed."""
    done = subprocess.run(
        [str(word) for word in words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
        env=os.environ | {"PYTHONHASHSEED": "0"},  # two starts of Python are the same instructions
    )
    return done.stdout


def firmware(program: Program) -> dict[str, Any]:
    """Row by target and by what is exported, "all" widths or one: bytes, and instructions by width, answers checked."""
    rng = np.random.default_rng(0)
    gain, bias = program.ops[0].gain, program.ops[0].bias  # type: ignore[attr-defined]
    codes = rng.integers(0, 256, (1, *program.input_shape))
    x = ((codes - program.values[0].zero - bias[0]) / gain[0]).astype(np.float32)
    return {
        target: {str(width or "all"): _row(program, target, x, width) for width in widths}
        for target, widths in COUNTED.items()
    }


def _row(program: Program, target: str, x: Any, width: PlanLike) -> dict[str, Any]:
    plans = WIDTHS if width is None else (width,)
    with tempfile.TemporaryDirectory() as name:
        built = Firmware.of(program, TARGETS[target], Path(name), width=width)
        answers = built.run([({program.inputs[0].name: x[0]}, plan) for plan in plans], count=True)
        for answer, plan in zip(answers, plans, strict=True):
            (y,) = answer.outputs.values()
            assert np.array_equal(y, interpret(program, x, plan)[0]), (target, plan)
        return {
            "flash": built.flash(),
            "weights": sum(op.weight.size for op in program.ops if isinstance(op, Layered)),
            "ram": built.ram(),
            "instructions": {str(plan): a.instructions for a, plan in zip(answers, plans, strict=True)},
        }


def two_largest(program: Program) -> int:
    """Bytes of the two largest values."""
    return sum(sorted(map(bytes_of, program.values))[-2:])


def host(program: Program) -> int:
    """Instructions of one run at 8 bits on this machine, counted by callgrind."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        c(program, folder / "c")
        sizes = (f"-DINPUTS={size(program.input_shape)}", f"-DOUTPUTS={size(program.values[-1].shape)}")
        files = (HERE / "host.c", *sorted((folder / "c").glob("*.c")))
        call("gcc", "-std=c99", "-O2", *sizes, f"-I{folder / 'c'}", *files, "-lm", "-o", folder / "net")
        return _difference(folder / "net", after=(8,))


def _difference(*before: object, after: tuple[object, ...] = ()) -> int:
    """Instructions of a run: what more runs of a process add, over their number; of few instructions a hundred runs."""
    found = _between(1, 6, before, after)
    return found if found > FEW else _between(1, 101, before, after)


def _between(first: int, last: int, before: tuple[object, ...], after: tuple[object, ...]) -> int:
    counts = [int(COLLECTED.findall(call(*VALGRIND, *before, runs, *after))[-1]) for runs in (first, last)]
    return (counts[1] - counts[0]) // (last - first)


def peer(name: str, data: Path) -> dict[str, int]:
    """TensorFlow Lite Micro, reference kernels: instructions of a run of the int8 file, and its arena's bytes."""
    path, script = data / FOLDER / INT8[name], HERE / "peer.py"
    shown = call(sys.executable, script, path, 1)
    arena = re.search(r"allocation total (\d+) bytes", shown)
    assert arena
    instructions = _difference(sys.executable, script, path)
    return {"instructions": instructions, "arena": int(arena[1]), "file": path.stat().st_size}
