"""Cascades: a low width first, and again at a higher one where the answer is not sure."""

from __future__ import annotations

import os
from dataclasses import dataclass

from dqt.arith.documents import CASCADE, document, read_document, written
from dqt.arith.errors import PlanError
from dqt.arith.files import write_file
from dqt.arith.whole import wholes


@dataclass(frozen=True)
class Cascade:
    """Run at ``widths[0]``; samples whose integer margin is at or below ``margins[i]`` run again at ``widths[i+1]``.

    The margin is the difference of the two largest integer outputs. ``len(margins) == len(widths) - 1``.
    """

    widths: tuple[int, ...]
    margins: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", wholes(self.widths, "a cascade's width"))
        object.__setattr__(self, "margins", wholes(self.margins, "a cascade's margin"))
        if not self.widths:
            raise PlanError("a cascade needs at least one width")
        if len(self.margins) != len(self.widths) - 1:
            raise PlanError(f"a cascade over {len(self.widths)} widths needs {len(self.widths) - 1} margins")
        if any(a >= b for a, b in zip(self.widths, self.widths[1:], strict=False)):
            raise PlanError(f"cascade widths {self.widths} must ascend: the low width first")

    def to_json(self) -> str:
        """JSON text; :meth:`from_json` reads it back."""
        return written(CASCADE, widths=self.widths, margins=self.margins)

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
        return cls(tuple(data["widths"]), tuple(data["margins"]))

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
