"""How sure an answer is, in integers: what a cascade decides by, the same wherever the integers were computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from dqt.arith.errors import InputError, PlanError

Int64: TypeAlias = npt.NDArray[np.int64]
Positions: TypeAlias = Literal["none", "mean", "low"]
FINE = 8
"""Bits after the point of a mean over positions: outputs of 8 bits would give 256 different margins otherwise."""
LOW = 10
"""One position in so many is less sure than the margin of ``"low"``."""


@dataclass(frozen=True)
class Margin:
    """The difference of the two largest scores, of one answer for each sample or of one for each position.

    ``m[n, p] = largest - second`` over the classes, int64 and 0 or more. With P positions the margin of sample n is

        "none"  m[n], where there are no positions: outputs ``[N, classes]``
        "mean"  floor(2^8 * sum_p m[n, p] / P)
        "low"   the floor(P / 10)-th smallest of m[n, :], counted from 0

    Attributes:
        positions: see above.
        axis: where the classes are: 1, as in ``[N, classes, H, W]``, or -1, as in ``[N, T, classes]``.
        output: of several outputs, the name of the one that is looked at; empty where there is one.
    """

    positions: Positions = "none"
    axis: Literal[1, -1] = 1
    output: str = ""

    def __post_init__(self) -> None:
        if self.positions not in get_args(Positions):
            raise PlanError(f'a margin over positions {self.positions!r}: need "none", "mean" or "low"')
        if isinstance(self.axis, bool) or self.axis not in (1, -1):
            raise PlanError(f"a margin over classes along axis {self.axis!r}: need 1 or -1")
        if not isinstance(self.output, str):
            raise PlanError(f"a margin of the output {self.output!r}: need its name")

    def __call__(self, codes: Any) -> Int64:
        """How sure each sample is, int64 ``[N]``.

        Args:
            codes: integer outputs ``[N, ...]``, or several by name.

        Raises:
            PlanError: the output has no two classes along the axis, or positions where none are expected.
            InputError: there is no output of that name.
        """
        scores = np.asarray(chosen_output(codes, self.output))
        plain = self.positions == "none"
        if scores.ndim < 2 or (plain and scores.ndim != 2) or scores.shape[self.axis] < 2:
            need = "[N, classes]" if plain else "[N, classes, ...]" if self.axis == 1 else "[N, ..., classes]"
            raise PlanError(f"a cascade compares the two best outputs: it needs {need}, not {list(scores.shape)}")
        best = np.partition(np.moveaxis(scores.astype(np.int64), self.axis, -1), -2, axis=-1)
        difference: Int64 = best[..., -1] - best[..., -2]
        return difference if plain else self._over_positions(difference.reshape(len(scores), -1))

    def _over_positions(self, margins: Int64) -> Int64:
        if self.positions == "mean":
            return (margins.sum(axis=1, dtype=np.int64) << FINE) // margins.shape[1]
        place = margins.shape[1] // LOW
        return np.partition(margins, place, axis=1)[:, place]


def margins_of(margin: Callable[[Any], Any], codes: Any, count: int) -> Int64:
    """``margin(codes)``, checked: see :meth:`dqt.Cascade.sure`."""
    found = np.asarray(margin(codes))
    if found.shape != (count,) or found.dtype.kind not in "iub":
        raise PlanError(
            f"a margin of dtype {found.dtype}, shape {list(found.shape)}: it decides, so it must be integers [{count}]"
        )
    return found.astype(np.int64)


def chosen_output(outputs: Any, name: str) -> Any:
    """The output called ``name`` of several by name; the only one where there is one, or where none is named.

    Raises:
        InputError: no output is called so, or there are several and none is named.
    """
    if not isinstance(outputs, Mapping):
        return outputs
    if not name and len(outputs) == 1:
        return next(iter(outputs.values()))
    if name not in outputs:
        said = f"no output is called {name!r}" if name else "no output is named"
        raise InputError(f"{said}: the network gives {', '.join(outputs)}; name one of them")
    return outputs[name]
