"""Docstrings name functions by roles, as :func:`dqt.fit`; on the site they are code."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension

ROLE = re.compile(r":(?:func|class|meth|mod|data|attr|exc):`~?([\w.]+)`")


class Roles(Extension):
    """Rewrites the docstring of every object that is loaded."""

    def on_instance(self, *, obj: Any, **_: Any) -> None:
        """Called for each object."""
        if obj.docstring:
            obj.docstring.value = ROLE.sub(r"`\1`", obj.docstring.value)
