"""Optional packages: imported where they are used, and an error that says what to install."""

from __future__ import annotations

import importlib
from typing import Any

DISTRIBUTIONS = {
    "onnx": "onnx",
    "onnxruntime": "onnxruntime",
    "openvino": "openvino",
    "ai_edge_litert": "ai-edge-litert",
    "flatbuffers": "flatbuffers",
}
"""Module -> what pip calls it."""


class ExportError(RuntimeError):
    """A program has no form in another tool: an operator lacks a counterpart, or the tool's package is missing."""


def package(name: str) -> Any:
    """The module ``name``, possibly one inside a package.

    Raises:
        ExportError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        top = name.partition(".")[0]
        advice = 'pip install "dqt[export]"' if top == "onnx" else f"pip install {DISTRIBUTIONS[top]}"
        raise ExportError(f"{top} cannot be imported ({error}): {advice}") from None
