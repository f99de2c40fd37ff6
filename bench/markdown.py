"""Markdown of which the pages are made: tables, and blocks between marks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """A table, its first ``left`` columns aligned left and the others right."""
    rule = "|" + "---|" * left + "---:|" * (len(head) - left)
    return "\n".join(["| " + " | ".join(head) + " |", rule, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def block(name: str) -> re.Pattern[str]:
    """What stands between a page's marks ``<!-- NAME -->`` and ``<!-- end -->``."""
    return re.compile(rf"(?<=<!-- {name} -->\n).*?(?=<!-- end -->)", re.DOTALL)


def filled(page: str, name: str, content: str) -> str:
    """The page with that block replaced."""
    return block(name).sub(lambda _: content, page, count=1)
