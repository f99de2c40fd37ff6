"""The tests of the engine run several threads wherever they ask for them, also on a machine of one core."""

from collections.abc import Iterator

import pytest

import dqt._native as native


@pytest.fixture(autouse=True)
def three_cores() -> Iterator[None]:
    native.assume_cores(3)
    yield
    native.assume_cores(0)
