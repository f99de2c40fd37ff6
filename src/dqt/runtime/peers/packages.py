"""Optional packages: imported where they are used, and an error that says what to install."""

from __future__ import annotations

import importlib
from typing import Any

from dqt.runtime.peers.reals import PeerError

DISTRIBUTIONS = {
    "onnx": "onnx",
    "onnxruntime": "onnxruntime",
    "openvino": "openvino",
    "ai_edge_litert": "ai-edge-litert",
    "flatbuffers": "flatbuffers",
}
"""Module -> what pip calls it."""


def package(name: str) -> Any:
    """The module ``name``, possibly one inside a package.

    Raises:
        PeerError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        top = name.partition(".")[0]
        raise PeerError(f"{top} cannot be imported ({error}): pip install {DISTRIBUTIONS[top]}") from None
