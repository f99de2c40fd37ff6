"""Exported programs as firmware of a Cortex-M, compiled with every warning as an error and run under QEMU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import dqt.export
from dqt.arith.plan import PlanLike, resolve
from dqt.program.program import Program
from dqt.program.schema import size
from tests.native.build import CORTEX, call

HERE = Path(__file__).parent / "firmware"
STRICT = ("-std=c99", "-O2", "-Wall", "-Wextra", "-Wconversion", "-Werror")
Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Target:
    """A processor: how it is compiled for, and QEMU's machine that has it.

    ``flash`` and ``ram`` are where code and data begin, ``stack`` is the end of the memory for data.
    """

    name: str
    flags: tuple[str, ...]
    machine: str
    flash: int
    ram: int
    stack: int


TARGETS = {
    target.name: target
    for target in (
        # QEMU has no Cortex-M0+: its code, which is a part of a Cortex-M3's, runs there with faults where accesses are
        # not aligned.
        Target("cortex-m0plus", ("-mfloat-abi=soft",), "mps2-an385", 0, 0x20000000, 0x20400000),
        Target("cortex-m4", ("-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"), "mps2-an386", 0, 0x20000000, 0x20400000),
        Target("cortex-m55", ("-mfloat-abi=hard",), "mps3-an547", 0, 0x21000000, 0x21400000),
    )
}


@dataclass(frozen=True)
class Firmware:
    """A program that is compiled for a processor, in ``folder``."""

    program: Program
    target: Target
    folder: Path

    @classmethod
    def of(cls, program: Program, target: Target, folder: Path, *flags: str) -> Firmware:
        """Export, compile and link."""
        dqt.export.c(program, folder / "c")
        (folder / "cases.h").write_text(_sizes(program))
        places = {"flash_start": target.flash, "ram_start": target.ram, "stack_end": target.stack}
        call(
            CORTEX[0], f"-mcpu={target.name}", "-mthumb", *target.flags, *STRICT, *flags, "-ffunction-sections",
            "-nostartfiles", "--specs=nano.specs", f"-I{folder}", f"-I{folder / 'c'}", HERE / "main.c",
            *sorted((folder / "c").glob("*.c")), "-T", HERE / "link.ld", "-Wl,--gc-sections",
            *(f"-Wl,--defsym={name}={value}" for name, value in places.items()), "-lm", "-o", folder / "net.elf",
        )  # fmt: skip
        return cls(program, target, folder)

    def run(self, cases: Sequence[tuple[Arrays, PlanLike]]) -> list[tuple[int, Arrays]]:
        """One sample after the other, on one start of the processor: its answer, and the outputs by name."""
        (self.folder / "cases.bin").write_bytes(b"".join(self._case(x, plan) for x, plan in cases))
        semihosting = ("-semihosting-config", "enable=on,target=native")
        machine = ("-M", self.target.machine, "-nographic", "-monitor", "none", "-serial", "none")
        call("env", "-C", self.folder, CORTEX[1], *machine, *semihosting, "-kernel", self.folder / "net.elf")
        shapes = _outputs(self.program)
        words = np.fromfile(self.folder / "answers.bin", np.int32)
        rows = words.reshape(-1, 1 + sum(map(size, shapes.values())))
        assert len(rows) == len(cases)
        return [(int(row[0]), _split(row[1:].view(np.float32), shapes)) for row in rows]

    def _case(self, x: Arrays, plan: PlanLike) -> bytes:
        given = self.program.inputs
        arrays = (x[g.name].astype(np.float32 if g.kind == "float" else np.int32) for g in given)
        return _widths(self.program, plan) + b"".join(array.tobytes() for array in arrays)


def _widths(program: Program, plan: PlanLike) -> bytes:
    """A pair a layer, and one that says whether the network chooses."""
    resolved = resolve(program.space, plan)
    auto = resolved == "auto"
    pairs = {} if auto else dict(resolved.items_)  # type: ignore[union-attr]
    flat = [b for name in program.layers for b in pairs.get(name, (0, 0))]
    return bytes([*flat, int(auto), 0])


def _outputs(program: Program) -> dict[str, tuple[int, ...]]:
    values = {value.name: value for value in program.values}
    return {out.name: values[out.value].shape for out in program.outputs}


def _split(flat: npt.NDArray[np.float32], shapes: Mapping[str, tuple[int, ...]]) -> Arrays:
    ends = np.cumsum([size(shape) for shape in shapes.values()])[:-1]
    parts = zip(shapes.items(), np.split(flat, ends), strict=True)
    return {name: part.reshape(shape) for (name, shape), part in parts}


def _sizes(program: Program) -> str:
    """``cases.h``: words of every input and output, and the call."""
    ins, outs = [size(g.shape) for g in program.inputs], [size(shape) for shape in _outputs(program).values()]
    x = "(const void *)(in)[0]" if len(ins) == 1 else "(const void *const *)(in)"
    y = "(void *)(out)[0]" if len(outs) == 1 else "(float *const *)(void *)(out)"
    chosen = "widths[NET_LAYERS].weights ? net_auto : widths" if program.space.choices else "widths"
    lines = [
        f"#define INPUT_WORDS {sum(ins)}",
        f"#define OUTPUT_WORDS {sum(outs)}",
        f"#define INPUTS {{{', '.join(map(str, ins))}}}",
        f"#define OUTPUTS {{{', '.join(map(str, outs))}}}",
        f"#define RUN(in, out, widths) net_run(&net, {x}, {chosen}, {y})",
    ]
    return "\n".join(lines) + "\n"
