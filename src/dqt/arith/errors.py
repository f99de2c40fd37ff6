"""The error that every engine raises for an input it cannot take, and the warning for one that does not fit."""

from __future__ import annotations


class InputError(ValueError):
    """An input that a network or a program cannot take; the message says what it got, and what it needs."""


class InputRangeWarning(UserWarning):
    """A sample lies far outside of the range that a program was calibrated with: most of it is clipped."""
