"""The only bridge from a prepared torch network to a :class:`~dqt.program.program.Program`.

``dqt.lower`` is at once this package and the function that users call: importing any of its modules makes Python set
``dqt.lower`` to the package, so the package itself forwards a call to :func:`dqt.lower.emit.lower`. That holds in
every order of import.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _Lower(ModuleType):
    """A package that can be called."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """``dqt.lower.emit.lower(*args, **kwargs)``.

        Raises:
            ImportError: torch is not installed.
        """
        try:
            from dqt.lower.emit import lower
        except ModuleNotFoundError as error:
            import dqt

            raise dqt._explained("lower", error) from error
        return lower(*args, **kwargs)


sys.modules[__name__].__class__ = _Lower
