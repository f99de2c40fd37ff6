"""The living definition: a program in NumPy integers. If a kernel disagrees with it, the kernel is wrong.

Every value is an integer and every operation on values is one of :mod:`dqt.arith`. What an operator computes stands in
its file of :mod:`dqt.program.ops`; :mod:`dqt.program.arrays` says where a product may go through floating point and why
that is exact. A batch runs in slices to bound memory; integers make the result independent of how it is cut.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from dqt.arith.cascade import Cascade
from dqt.arith.errors import InputError
from dqt.arith.margin import Margin
from dqt.arith.plan import Plan, PlanLike, resolve, uniform
from dqt.program.arrays import Array, NumpyArrays
from dqt.program.execute import Execution, Machine
from dqt.program.inputs import Floats, inputs_of
from dqt.program.ops.dequantize import Dequantize
from dqt.program.parallel import cores, each
from dqt.program.program import Program, ProgramLike, as_program
from dqt.program.schema import size
from dqt.program.values import Value

__all__ = ["InputError", "Result", "execute", "interpret", "margins"]
SLICE_ELEMENTS, SLICE_SAMPLES = 1 << 25, 128
"""A slice has at most this many samples, and elements in its largest value."""


@dataclass(frozen=True, eq=False)
class Result:
    """What a run gave, in integers.

    Attributes:
        codes: int32 ``[N, ...]``, the output before its dequantization.
        widths: int8 ``[N, layers]``, the width of each layer for each sample, in the order of ``program.layers``. Where
            a plan gives weights and activations different widths, the smaller; in a cascade, those of the last pass.
        passes: int8 ``[N]``, how many times a sample went through the network: 1, but for cascades.
        values: with ``keep``, every value that was computed, by name, ``[N, *shape]``; otherwise empty.
    """

    codes: npt.NDArray[np.int32]
    widths: npt.NDArray[np.int8]
    passes: npt.NDArray[np.int8]
    values: Mapping[str, Array] = field(default_factory=dict)


def interpret(program: ProgramLike, x: Any, plan: PlanLike = None) -> Floats:
    """Run ``program`` on ``x`` under ``plan`` and dequantize once: ``float32(q - zero) * float32(step)``.

    Args:
        program: the integer program, or the path of a ``.dqt`` file, which is then read at each call.
        x: ``[N, *input_shape]``, finite: an array, a tensor, what exports DLPack, or nested lists. Floats and integers
            are what the float model takes; uint8 is pixels, normalized as in training, and may have channels last.
        plan: a width, a mapping, a ``Plan``, a ``Cascade`` or "auto"; the master width if left out.

    Returns:
        float32 ``[N, ...]``.

    Raises:
        InputError: ``x`` has another shape or dtype, is empty, or holds a NaN or an infinity; or it is pixels, and the
            program does not say the mean and std of its pixels.
        PlanError: the plan does not fit the program.
        ProgramError: ``program`` is something else, or no legal file.

    Warns:
        InputRangeWarning: once for a program, of samples that lie far outside of what it was calibrated with: most of
            a sample is beyond that range, or some of it several times.
    """
    program = as_program(program)
    out = _output_value(program)
    return (execute(program, x, plan).codes - out.zero).astype(np.float32) * np.float32(out.step)


def execute(program: ProgramLike, x: Any, plan: PlanLike = None, *, keep: bool = False) -> Result:
    """Run ``program`` on ``x`` under ``plan`` and return its integers; arguments and errors as :func:`interpret`.

    One batch may mix widths ("auto", a cascade); each sample gets what it would get alone.
    """
    program = as_program(program)
    resolved = resolve(program.space, plan)
    inputs = inputs_of(program)(x)
    if isinstance(resolved, Cascade):
        zero = _output_value(program).zero
        return cascaded(
            inputs, resolved, lambda some, b: _run(program, some, uniform(program.space, b), keep=keep), zero
        )
    return _run(program, inputs, resolved, keep=keep)


def margins(codes: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
    """How sure each sample is: the difference of its two largest integer outputs, int64 ``[N]``.

    Raises:
        PlanError: the output is not a vector of two or more.
    """
    return Margin()(codes)


def cascaded(inputs: Floats, cascade: Cascade, run: Callable[[Floats, int], Result], zero: int = 0) -> Result:
    """Run all at the first width; those at or below the margin run again at the next.

    Args:
        run: samples at a width.   zero: the code of real 0 in the output.
    """
    result = run(inputs, cascade.widths[0])
    codes, widths, passes = result.codes, result.widths, result.passes
    unsure = np.arange(len(inputs))
    for b, threshold in zip(cascade.widths[1:], cascade.margins, strict=True):
        sure = cascade.sure(codes[unsure] - np.int64(zero), len(unsure))
        unsure = unsure[sure <= threshold]
        if len(unsure) == 0:
            break
        again = run(inputs[unsure], b)
        codes[unsure], widths[unsure] = again.codes, again.widths
        passes[unsure] += 1
        for name, value in again.values.items():
            result.values[name][unsure] = value
    return Result(codes, widths, passes, result.values)


def _output_value(program: Program) -> Value:
    last = program.ops[-1].x if isinstance(program.ops[-1], Dequantize) else ""
    return next(value for value in program.values if value.name == last)


def _run(program: Program, inputs: Floats, plan: Plan | Literal["auto"], *, keep: bool) -> Result:
    machine = Machine(program, plan, NumpyArrays())
    largest = max(size(value.shape) for value in program.values)
    count = max(1, min(SLICE_SAMPLES, SLICE_ELEMENTS // largest, -(-len(inputs) // cores())))
    slices = [inputs[i : i + count] for i in range(0, len(inputs), count)]
    parts = each(lambda some: _run_slice(machine, some, keep=keep), slices)
    codes, widths = (np.concatenate([getattr(part, name) for part in parts]) for name in ("codes", "widths"))
    kept = {name: np.concatenate([part.values[name] for part in parts]) for name in parts[0].values}
    return Result(codes, widths, np.ones(len(inputs), dtype=np.int8), kept)


def _run_slice(machine: Machine, x: Floats, *, keep: bool) -> Result:
    with np.errstate(over="ignore"):  # an input beyond the range may become infinite before it is clipped
        run = machine.run(x, keep=keep)
    return Result(run.output.astype(np.int32), _widths(run), np.ones(len(x), dtype=np.int8), run.kept)


def _widths(run: Execution) -> npt.NDArray[np.int8]:
    """int8 ``[N, layers]``, see :class:`Result`."""
    result = np.empty((len(run.x), len(run.space.names)), dtype=np.int8)
    for i, name in enumerate(run.space.names):
        result[:, i] = run.chosen.get(name, min(run.machine.pairs[name]))
    return result
