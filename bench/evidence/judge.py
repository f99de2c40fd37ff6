"""Who judges. Every accuracy in the records goes through :func:`judge`, so another engine is one change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from dqt.program.evaluate import Evaluation, evaluate, evaluate_widths
from dqt.runtime import Runtime

if TYPE_CHECKING:
    from dqt.arith.plan import PlanLike
    from dqt.program.program import Program

ENGINE = "dqt.Runtime"
Floats = npt.NDArray[np.float32]


def judge(program: Program, inputs: Floats, plan: PlanLike | npt.NDArray[np.int8]) -> Evaluation:
    """The integer program's answers under ``plan``, or at widths given for each sample, int8 ``[N, layers]``."""
    engine = Runtime(program).execute
    if isinstance(plan, np.ndarray):
        return evaluate_widths(program, inputs, plan, engine=engine)
    return evaluate(program, inputs, plan, engine=engine)


def output_codes(program: Program, inputs: Floats, bits: int) -> npt.NDArray[np.int32]:
    """The integer outputs at one width, ``[N, classes]``: what a cascade's margins are calibrated on."""
    return Runtime(program).codes(inputs, bits)
