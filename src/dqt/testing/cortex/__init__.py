"""Exported C as firmware: compiled for a Cortex-M with every warning as an error, run under QEMU's emulation of one.

It needs Debian's packages gcc-arm-none-eabi, libnewlib-arm-none-eabi and qemu-system-arm.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dqt.arith.plan import PlanLike, resolve
from dqt.export.c99.write import c
from dqt.program.program import Program
from dqt.program.schema import size
from dqt.program.values import FLOAT
from dqt.testing.objects import called, objects

HERE = Path(__file__).parent
COMPILER, SIZE, SYMBOLS, EMULATOR = "arm-none-eabi-gcc", "arm-none-eabi-size", "arm-none-eabi-nm", "qemu-system-arm"
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Werror")
FLOATS = ("-mfloat-abi=hard", "-mfpu=fpv4-sp-d16")
Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Target:
    """A processor: how to compile for it, and the machine of QEMU that has it.

    Attributes:
        flash, ram: where code and data begin.   stack: the end of the memory for data.   hertz: of its clock.
    """

    name: str
    flags: tuple[str, ...]
    machine: str
    flash: int
    ram: int
    stack: int
    hertz: int


# QEMU has no Cortex-M0+: its code, which is a part of a Cortex-M3's, runs there, with faults where accesses are not
# aligned.
TARGETS = {
    target.name: target
    for target in (
        Target("cortex-m0plus", ("-mfloat-abi=soft",), "mps2-an385", 0x100, 0x20000000, 0x20400000, 25_000_000),
        Target(
            "cortex-m4",
            ("-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"),
            "mps2-an386",
            0x100,
            0x20000000,
            0x20400000,
            25_000_000,
        ),
        Target("cortex-m55", ("-mfloat-abi=hard",), "mps3-an547", 0x01000000, 0x21000000, 0x21400000, 32_000_000),
    )
}


@dataclass(frozen=True)
class Answer:
    """What one call gave.

    Attributes:
        code: what it returned, 0 where it ran.   outputs: float32 by name.
        instructions: that the call took, to the next 1000 million / hertz; 0 where they were not counted.
    """

    code: int
    outputs: Arrays
    instructions: int


@dataclass(frozen=True)
class Firmware:
    """A program that is compiled for a processor, in ``folder``.

    Attributes:
        plan: the only widths that it runs at; ``None``: those of each case.
    """

    program: Program
    target: Target
    folder: Path
    plan: PlanLike | None = None

    @classmethod
    def of(cls, program: Program, target: Target, folder: Path, *flags: str, width: PlanLike | None = None) -> Firmware:
        """Export, compile and link.

        Raises:
            RuntimeError: a tool fails; with what it printed.
        """
        c(program, folder / "c", width=width)
        (folder / "cases.h").write_text(_sizes(program, fixed=width is not None))
        places = {"flash_start": target.flash, "ram_start": target.ram, "stack_end": target.stack}
        flags = (f"-mcpu={target.name}", "-mthumb", *target.flags, "--specs=nano.specs", *(flags or ("-O2",)))
        compiler = (COMPILER, *flags, *STRICT, "-ffunction-sections", "-fdata-sections")
        files = objects([HERE / "main.c", *sorted((folder / "c").glob("*.c"))], folder, compiler, folder, folder / "c")
        called(
            COMPILER, *flags, "-nostartfiles", *files, "-T", HERE / "link.ld", "-Wl,--gc-sections",
            *(f"-Wl,--defsym={name}={value}" for name, value in places.items()), "-lm", "-o", folder / "net.elf",
        )  # fmt: skip
        return cls(program, target, folder, width)

    def run(self, cases: Sequence[tuple[Arrays, PlanLike]], *, count: bool = False) -> list[Answer]:
        """One sample after the other, on one start of the processor.

        Args:
            cases: inputs by name, without a batch, and the widths of each.   count: count instructions.

        Raises:
            RuntimeError: the processor stopped, or a tool failed.
        """
        (self.folder / "cases.bin").write_bytes(b"".join(self._case(x, plan) for x, plan in cases))
        (self.folder / "answers.bin").unlink(missing_ok=True)
        options = ("-semihosting-config", "enable=on,target=native", *(("-icount", "shift=0") if count else ()))
        machine = ("-M", self.target.machine, "-nographic", "-monitor", "none", "-serial", "none")
        called(EMULATOR, *machine, *options, "-kernel", self.folder / "net.elf", folder=self.folder)
        shapes = _outputs(self.program)
        rows = np.fromfile(self.folder / "answers.bin", np.int32).reshape(len(cases), -1)
        each = 1_000_000_000 // self.target.hertz if count else 0  # instructions between two ticks
        return [Answer(int(r[0]), _split(r[2:].view(np.float32), shapes), int(r[1]) * each) for r in rows]

    def flash(self) -> int:
        """Bytes of code, weights and constants."""
        listed = called(SIZE, "-A", self.folder / "net.elf")
        return sum(int(n) for n in re.findall(r"^(?:\.vectors|\.text|\.data)\s+(\d+)", listed, re.MULTILINE))

    def ram(self) -> int:
        """Bytes of ``net_t``: all values that live at a time, states and widths."""
        (found,) = re.findall(r"^\w+ (\w+) \w net$", called(SYMBOLS, "-S", self.folder / "net.elf"), re.MULTILINE)
        return int(found, 16)

    def _case(self, x: Arrays, plan: PlanLike) -> bytes:
        given = self.program.inputs
        arrays = (x[g.name].astype(np.float32 if g.kind == FLOAT else np.int32) for g in given)
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


def _sizes(program: Program, *, fixed: bool) -> str:
    """``cases.h``: words of every input and output, and the call."""
    ins, outs = [size(g.shape) for g in program.inputs], [size(shape) for shape in _outputs(program).values()]
    x = "(const void *)(in)[0]" if len(ins) == 1 else "(const void *const *)(in)"
    y = "(void *)(out)[0]" if len(outs) == 1 else "(float *const *)(void *)(out)"
    chosen = "(const net_width *)(const void *)chosen"
    if program.space.choices:
        chosen = f"chosen[NET_LAYERS].weights ? net_auto : {chosen}"
    run = f"net_run(&net, {x}, {y})" if fixed else f"net_run(&net, {x}, {chosen}, {y})"
    lines = [
        f"#define INPUT_WORDS {sum(ins)}",
        f"#define OUTPUT_WORDS {sum(outs)}",
        f"#define INPUTS {{{', '.join(map(str, ins))}}}",
        f"#define OUTPUTS {{{', '.join(map(str, outs))}}}",
        f"#define RUN(in, out) {run}",
    ]
    return "\n".join(lines) + "\n"
