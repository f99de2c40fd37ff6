"""The error of this room."""

from __future__ import annotations


class DataError(ValueError):
    """Data that cannot be read as what it is said to be; the message names the file and what was expected."""


def reason(error: Exception) -> str:
    """What went wrong, without the number and the path that Python adds where the system refused a file."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
