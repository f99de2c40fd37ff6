"""Cascades: a low width first, and again at a higher one where the answer is not sure."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any

from dqt.arith.documents import CASCADE, document, read_document, written
from dqt.arith.errors import PlanError
from dqt.arith.files import write_file
from dqt.arith.margin import Int64, Margin, margins_of
from dqt.arith.whole import wholes

USUAL = Margin()
"""The difference of the two largest of ``[N, classes]``."""


@dataclass(frozen=True)
class Cascade:
    """Run at ``widths[0]``; samples whose integer margin is at or below ``margins[i]`` run again at ``widths[i+1]``.

    Attributes:
        widths: ascending.   margins: thresholds, ``len(margins) == len(widths) - 1``.
        margin: how sure a sample is, from its integer outputs (real zero is 0): by default the difference of the two
            largest; or a function of yours, ``[N, ...]`` to integers ``[N]``, with which a cascade is not saved.
    """

    widths: tuple[int, ...]
    margins: tuple[int, ...]
    margin: Margin | Callable[[Any], Any] = USUAL

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", wholes(self.widths, "a cascade's width"))
        object.__setattr__(self, "margins", wholes(self.margins, "a cascade's margin"))
        if not self.widths:
            raise PlanError("a cascade needs at least one width")
        if len(self.margins) != len(self.widths) - 1:
            raise PlanError(f"a cascade over {len(self.widths)} widths needs {len(self.widths) - 1} margins")
        if any(a >= b for a, b in zip(self.widths, self.widths[1:], strict=False)):
            raise PlanError(f"cascade widths {self.widths} must ascend: the low width first")
        if not callable(self.margin):
            raise PlanError(f"a cascade's margin of type {type(self.margin).__name__}: need a dqt Margin or a function")

    def sure(self, codes: Any, count: int) -> Int64:
        """How sure each of ``count`` samples is, int64 ``[N]``; ``codes``: integer outputs ``[N, ...]``, real zero 0.

        Raises:
            PlanError: the outputs do not fit the margin; or a margin of the user's own gives something else.
        """
        return margins_of(self.margin, codes, count)

    def to_json(self) -> str:
        """JSON text; :meth:`from_json` reads it back.

        Raises:
            PlanError: the margin is a function of the user's own, which no text holds.
        """
        if not isinstance(self.margin, Margin):
            raise PlanError("a cascade whose margin is a function of your own cannot be saved: keep its margins")
        usual = self.margin == USUAL
        return written(
            CASCADE, widths=self.widths, margins=self.margins, **({} if usual else {"margin": asdict(self.margin)})
        )

    @classmethod
    def from_json(cls, text: str) -> Cascade:
        """The cascade of :meth:`to_json`.

        Raises:
            PlanError: not JSON, another format or version, or values that make no cascade.
        """
        data = document(text, CASCADE)
        for key in ("widths", "margins"):
            if not isinstance(data.get(key), list):
                raise PlanError(f'a cascade needs "{key}": a list of integers')
        return cls(tuple(data["widths"]), tuple(data["margins"]), _margin(data.get("margin", {})))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the cascade as JSON, whole or not at all.

        Raises:
            OSError: it cannot be written, see :func:`dqt.arith.files.write_file`.
        """
        write_file(path, self.to_json())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Cascade:
        """Read a cascade that :meth:`save` wrote.

        Raises:
            PlanError: see :meth:`from_json`. OSError: it cannot be read.
        """
        return read_document(path, cls.from_json)


def _margin(entries: Any) -> Margin:
    known = [item.name for item in fields(Margin)]
    if not isinstance(entries, dict) or not set(entries) <= set(known):
        raise PlanError(f'"margin" of a cascade must be an object with {", ".join(known)}')
    return Margin(**entries)
