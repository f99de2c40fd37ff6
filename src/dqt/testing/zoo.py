"""torchvision and timm, whatever build of torch they meet.

torchvision's wheel is compiled for the CUDA build of torch. Beside a CPU build its compiled operators do not load, and
then importing it fails, although the models are plain Python: it describes two operators (for detection) that nobody
has declared. Here they are declared first.
"""

from __future__ import annotations

import importlib
import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

import torch

MISSING = ("nms", "qnms")
SCHEMA = "{}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_KEPT: list[torch.library.Library] = []
"""A declaration lasts as long as its library object."""


@cache
def torchvision() -> Any:
    """The module ``torchvision``."""
    _declare()
    return importlib.import_module("torchvision")


@cache
def timm() -> Any:
    """The module ``timm``, which imports torchvision."""
    torchvision()
    return importlib.import_module("timm")


def _declare() -> None:
    spec = importlib.util.find_spec("torchvision")
    assert spec is not None
    assert spec.origin is not None
    try:
        torch.ops.load_library(str(next(Path(spec.origin).parent.glob("_C*.so"))))  # type: ignore[no-untyped-call]
    except (OSError, StopIteration):
        library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
        for name in MISSING:
            library.define(SCHEMA.format(name))  # type: ignore[no-untyped-call]
        _KEPT.append(library)
