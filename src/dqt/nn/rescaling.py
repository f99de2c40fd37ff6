"""Values of a program in other codes: another scale, another sign."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from dqt.nn.integers import Codes, rescale
from dqt.program.ops.rescale import Rescale

if TYPE_CHECKING:
    from dqt.nn.emission import Emission


MOST_CODE = 255


def append_rescale(e: Emission, x: str, source: Codes, out: str, codes: Codes, gain: float = 1.0) -> None:
    """Append ``out = gain * x``: from the codes of one value to those of another, both of which are declared."""
    k = rescale(source, codes, np.full(1, gain), np.zeros(1))
    e.append(Rescale(x, out, k.m, k.c, k.shift, k.lo, k.hi))


def negated(codes: Codes) -> Codes:
    """How integers stand for the reals of ``codes`` with another sign, one for each, in reverse order."""
    if codes.lo == 0 and codes.hi <= MOST_CODE:
        return replace(codes, zero=codes.hi - codes.zero)
    return replace(codes, lo=-codes.hi, hi=-codes.lo)
