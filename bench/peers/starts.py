"""Memory and loading: every engine in fresh processes of its own (:mod:`bench.peers.start`)."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from bench.common import child
from bench.peers.engines import EXACT, LITERT, MODULES, ONNXRUNTIME, OPENVINO
from bench.peers.networks import Files
from bench.peers.start import OWN
from bench.serving.common import ratios, spread

STARTS = 7
"""Processes of each engine, in turns."""


def memory(kept: Files) -> dict[str, int]:
    """Bytes that loading and a first run add at their peak, by engine, of the leanest of its forms."""
    found: dict[str, int] = {}
    for engine, path in models(kept):
        peak = _asked("memory", engine, path, kept)
        if peak is not None:
            found[engine] = min(peak, found.get(engine, peak))
    return found


def load(kept: Files, starts: int = STARTS) -> dict[str, Any]:
    """Milliseconds of processor from a file to the first answer; this engine's over them in the same turn."""
    times: dict[str, list[float]] = {}
    for _ in range(starts):
        for engine, path in models(kept):
            seconds = _asked("load", engine, path, kept)
            if seconds is not None:
                times.setdefault(engine, []).append(1e3 * seconds)
    return {
        "ms": {engine: spread(values) for engine, values in times.items()},
        "over": {engine: spread(ratios(times[OWN], values)) for engine, values in times.items()},
    }


def models(kept: Files) -> list[tuple[str, Path]]:
    """Engine and file, of every form and every installed engine."""
    found = [(engine, kept.onnx(form)) for form in kept.forms for engine in (OPENVINO, ONNXRUNTIME, EXACT)]
    found += [(LITERT, kept.tflite(1))] if kept.tflite(1).exists() else []
    return [(OWN, kept.program), *(each for each in found if importlib.util.find_spec(MODULES[each[0]]))]


def _asked(what: str, engine: str, path: Path, kept: Files) -> Any:
    return child("bench.peers.start", what, engine, str(path), str(kept.samples))
