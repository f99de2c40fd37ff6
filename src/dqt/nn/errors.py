"""Errors of preparing and running a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

MOST_PLACES = 3
"""Modules that a message names for one obstacle; more of them are counted."""


@dataclass(frozen=True)
class Obstacle:
    """One thing in a model that cannot become integers.

    Attributes:
        why: what is wrong with it, a sentence that goes on from operator and module.
        operator, module: ATen's name of the operator, and the path of the module whose forward it stands in; empty
            where something else than an operator is wrong.
        line: ``At file:line: code``, the user's own, or empty.   advice: what to do.
    """

    why: str
    operator: str = ""
    module: str = ""
    line: str = ""
    advice: str = ""

    def __str__(self) -> str:
        return " ".join(part for part in (self.found, self.advice) if part)

    @property
    def found(self) -> str:
        """What is wrong and where, without what to do."""
        where = f"{self.operator} in {self.module} " if self.operator else ""
        return " ".join(part for part in (f"{where}{self.why}", self.line) if part)


class UnsupportedError(ValueError):
    """A model, or a part of it, that cannot become an integer program; says which operator, where, and what to do.

    Attributes:
        obstacles: all of them, in the order of the model; empty where the model could not be read at all.
    """

    obstacles: tuple[Obstacle, ...] = ()

    @classmethod
    def of(cls, obstacles: Sequence[Obstacle]) -> Self:
        """One error for all obstacles."""
        error = cls(_said(obstacles))
        error.obstacles = tuple(obstacles)
        return error


def _said(obstacles: Sequence[Obstacle]) -> str:
    """All that is wrong, then what to do."""
    if len(set(obstacles)) == 1:
        return str(obstacles[0])
    lines = kinds_of(obstacles)
    head = f"{len(lines)} obstacle{'s' * (len(lines) > 1)} in the model:"
    return "\n".join([head, *(f"- {line}" for line in lines), *advice_of(obstacles)])


def kinds_of(obstacles: Sequence[Obstacle]) -> list[str]:
    """One line for each kind of obstacle: the first of the kind, and which other modules have it."""
    kinds: dict[tuple[str, str], list[Obstacle]] = {}
    for each in dict.fromkeys(obstacles):
        kinds.setdefault((each.operator, each.why), []).append(each)
    return [f"{same[0].found}{_elsewhere(same)}" for same in kinds.values()]


def advice_of(obstacles: Sequence[Obstacle]) -> list[str]:
    """What to do about all of them, each thing once."""
    return list(dict.fromkeys(each.advice for each in obstacles if each.advice))


def _elsewhere(same: Sequence[Obstacle]) -> str:
    modules = list(dict.fromkeys(each.module for each in same[1:] if each.module != same[0].module))
    if not modules:
        return f" ({len(same)} times.)" if len(same) > 1 else ""
    more = f" and {len(modules) - MOST_PLACES} more" if len(modules) > MOST_PLACES else ""
    return f" (Also in {', '.join(modules[:MOST_PLACES])}{more}.)"


class HookWarning(UserWarning):
    """Hooks that will not run, or are not part of the prepared network; says which, and where to register them."""


class TieWarning(UserWarning):
    """A parameter that the model uses in two forms, which the network cannot keep tied in training; says where."""


class CalibrationError(ValueError):
    """Ranges that are missing, or data that cannot give them."""


class CalibrationWarning(UserWarning):
    """Something in the calibration data or in the model that will serve badly; says what, where, and what to do."""
