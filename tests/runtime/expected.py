"""The interpreter's results, computed once for all kernel sets, kernels and numbers of threads compared with them.

Most processor time of such a comparison is the interpreter's: plain NumPy.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from functools import lru_cache
from typing import Any

import numpy as np

from dqt.arith.plan import PlanLike
from dqt.program import interpret
from dqt.program.file import dumps
from dqt.program.interpret import Result
from dqt.program.program import Program

MOST = 512
"""Results that are kept: more than one test asks for, and the oldest go first."""
_known: OrderedDict[tuple[Any, ...], Result] = OrderedDict()


@lru_cache(maxsize=16)
def _named(program: Program) -> bytes:
    """A digest of the program's file: tests make equal programs again and again."""
    return hashlib.sha256(dumps(program)).digest()


def execute(program: Program, x: np.ndarray[Any, Any], plan: PlanLike) -> Result:
    """What :func:`dqt.program.interpret.execute` gives for equal arguments, from memory if it has just been asked for.

    Its arrays cannot be written.
    """
    key = (_named(program), x.shape, x.dtype.str, hashlib.sha256(x.tobytes()).digest(), plan)
    if key not in _known:
        result = interpret.execute(program, x, plan)
        for array in (result.codes, result.widths, result.passes):
            array.setflags(write=False)
        _known[key] = result
        if len(_known) > MOST:
            _known.popitem(last=False)
    return _known[key]
