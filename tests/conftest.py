"""Settings for every test."""

import sys

import pytest
from hypothesis import settings

# A deadline per example measures how busy the machine is; pytest's own timeout ends a test that hangs.
settings.register_profile("dqt", deadline=None)
settings.load_profile("dqt")


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Torch's own random numbers are the same in every run, in whatever order the tests come."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)
