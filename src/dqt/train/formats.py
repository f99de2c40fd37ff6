"""Readers of data sets and images by the names that training code uses; :mod:`dqt.data` has them, without torch."""

from dqt.data.errors import DataError
from dqt.data.images import read_image

__all__ = ["DataError", "read_image"]
