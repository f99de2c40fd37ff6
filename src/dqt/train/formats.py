"""Where the readers of data sets and images were; they are in :mod:`dqt.data` and need no torch."""

from dqt.data.errors import DataError
from dqt.data.images import read_image

__all__ = ["DataError", "read_image"]
