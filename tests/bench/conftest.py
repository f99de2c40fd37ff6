"""A data set of seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 255, (300, 1, 12, 12), dtype=np.uint8), np.arange(300) % 10
    np.savez(tmp_path / "tiny.npz", x=x, y=y)
    return tmp_path
