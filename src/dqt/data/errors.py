"""The error of this room."""

from __future__ import annotations


class DataError(ValueError):
    """Data that cannot be read as what it is said to be; the message names the file and what was expected."""
