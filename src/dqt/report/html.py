"""What the parts of a page share: sections, tables that sort, and the shades of widths."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import NamedTuple


class Cell(NamedTuple):
    """A cell of a table.

    Attributes:
        text: what it shows.   value: by which it is sorted, if not by its text.   mark: its class.
    """

    text: str
    value: float | None = None
    mark: str = ""

    def html(self) -> str:
        """The element."""
        value = "" if self.value is None else f" data-v='{self.value:.10g}'"
        mark = f" class='{self.mark}'" if self.mark else ""
        return f"<td{mark}{value}>{escape(self.text)}</td>"


class Line(NamedTuple):
    """A row of a table: its name, already HTML, its cells, and its attributes."""

    name: str
    cells: Sequence[Cell | str]
    attributes: str = ""

    def html(self) -> str:
        """The element; cells that are text are HTML already."""
        cells = "".join(cell if isinstance(cell, str) else cell.html() for cell in self.cells)
        return f"<tr{self.attributes}><th scope='row'>{self.name}</th>{cells}</tr>"


def table(kind: str, heads: Iterable[str], lines: Iterable[Line], *, sortable: bool = False) -> str:
    """A table that scrolls by itself where it is too wide."""
    head = "".join(f"<th scope='col'>{escape(name)}</th>" for name in heads)
    mark = f"{kind} sortable" if sortable else kind
    body = "".join(line.html() for line in lines)
    return (
        f"<div class='scroll'><table class='{mark}'><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def section(title: str, note: str, *parts: str) -> str:
    """A section of the page; ``note`` is text, ``parts`` are HTML."""
    said = f"<p class='note'>{escape(note)}</p>\n" if note else ""
    return f"<section>\n<h2>{escape(title)}</h2>\n{said}{''.join(parts)}\n</section>"


def level(width: float, master: int) -> str:
    """A width as a number in [0, 1] for the style sheet: 1 bit is 0, the master 1."""
    return f"{(width - 1) / max(1, master - 1):.3f}"


def shade(width: float, master: int) -> str:
    """A cell's colour. Between the two halves is a gap: on the tones of the middle neither text colour can be read."""
    high = " high" if float(level(width, master)) > 0.5 else ""
    return f"class='bits{high}' style='--w:{tone(width, master)}'"


def tone(width: float, master: int) -> str:
    """The shade of a width: 0 is the palest, 1 the deepest."""
    part = float(level(width, master))
    return f"{0.4 + 0.6 * part if part > 0.5 else 0.6 * part:.3f}"


def in_bits(width: float) -> str:
    """``4``; a mean as ``3.4``."""
    return f"{width:.0f}" if float(width).is_integer() else f"{width:.1f}"
