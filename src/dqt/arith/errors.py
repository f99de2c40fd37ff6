"""The error that every engine raises for an input it cannot take."""

from __future__ import annotations


class InputError(ValueError):
    """An input that a network or a program cannot take; the message says what it got, and what it needs."""
