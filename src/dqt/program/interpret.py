"""The living definition: a program in NumPy integers. If a kernel disagrees with it, the kernel is wrong.

:mod:`dqt.program.passes` runs it; what an operator computes stands in its file of :mod:`dqt.program.ops`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dqt.arith.errors import InputError
from dqt.arith.plan import PlanLike
from dqt.program import passes
from dqt.program.passes import Result, dequantized, margins
from dqt.program.program import ProgramLike, as_program

__all__ = ["InputError", "Result", "dequantized", "execute", "interpret", "margins"]


def interpret(program: ProgramLike, x: Any, plan: PlanLike = None, state: Mapping[str, Any] | None = None) -> Any:
    """Run ``program`` on ``x`` under ``plan`` and dequantize once: ``float32(q - zero) * float32(scale)``.

    Args:
        program: the integer program, or the path of a ``.dqt`` file, which is then read at each call.
        x: ``[N, *input_shape]``, finite: an array, a tensor, what exports DLPack, or nested lists. Floats and integers
            are what the float model takes; uint8 is pixels, normalized as in training, and may have channels last. Of a
            program with several inputs a dict by name, or a tuple in their order; integer inputs take integers.
        plan: a width, a mapping, a ``Plan``, a ``Cascade`` or "auto"; the master width if left out, or the widest that
            a packed program holds.
        state: what the last run of a program with states gave; ``None``: their start.

    Returns:
        float32 ``[N, ...]``; of several outputs a dict by name. Of a program with states a pair of this and the states
        for the next run, int32 ``[N, *shape]`` by name.

    Raises:
        InputError: ``x`` has another shape or dtype, is empty, or holds a NaN or an infinity; or it is pixels, and the
            program does not say the mean and std of its pixels; or a name is unknown or missing, a dimension is bound
            to two sizes, or a state is one of another program.
        PlanError: the plan does not fit the program.
        ProgramError: ``program`` is something else, or no legal file.

    Warns:
        InputRangeWarning: once for a program, of samples that lie far outside of what it was calibrated with: most of
            a sample is beyond that range, or some of it several times.
    """
    return as_program(program)(x, plan, state)


def execute(
    program: ProgramLike,
    x: Any,
    plan: PlanLike = None,
    state: Mapping[str, Any] | None = None,
    *,
    keep: bool = False,
) -> Result:
    """The integers of a run, see :func:`dqt.program.passes.execute`; arguments and errors as :func:`interpret`."""
    return passes.execute(as_program(program), x, plan, state, keep=keep)
