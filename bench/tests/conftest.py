"""A data set of seconds, and the same random numbers in every order of tests."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def seeded() -> None:
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 255, (300, 1, 12, 12), dtype=np.uint8), np.arange(300) % 10
    np.savez(tmp_path / "tiny.npz", x=x, y=y)
    return tmp_path
