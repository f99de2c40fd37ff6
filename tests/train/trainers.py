"""The libraries that bring training loops of their own, where they are installed."""

from __future__ import annotations

import importlib
import importlib.util
import os
from typing import Any

import pytest

from dqt.testing.zoo import torchvision


def needs(*names: str) -> tuple[Any, ...]:
    """These modules. CI has them; elsewhere a test that needs one that is missing is left out."""
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing and not os.environ.get("CI"):
        pytest.skip(f"{', '.join(missing)} not installed: pip install '.[trainers]'")
    torchvision()  # these import it; its wheel may be of another build of torch
    return tuple(importlib.import_module(name) for name in names)
