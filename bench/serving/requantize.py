"""Methods to requantize stored weights from 8 bits to 4, without kernels that read weights at any width. One thread."""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from bench.serving.common import Call
from dqt.program.ops.conv import Conv
from dqt.program.ops.linear import Linear
from dqt.program.program import Program

LO, HI = -8, 7
STEP, NARROW = 1 / 127, 1 / 7
SOURCE = Path(__file__).with_name("requantize.c")
FLAGS = ("-O3", "-march=native", "-ffast-math", "-mprefer-vector-width=512", "-fPIC")


def weights_of(program: Program) -> list[npt.NDArray[np.int8]]:
    """Weights of every layer, ``[outputs, others]``."""
    found = [op.weight for op in program.ops if isinstance(op, Conv | Linear)]
    return [weight.reshape(len(weight), -1).copy() for weight in found]


def baselines(weights: list[npt.NDArray[np.int8]]) -> dict[str, Call]:
    """Label -> what changes every weight once, with a step for each output channel where it says so."""
    torch.set_num_threads(1)
    native = _native(weights)
    return {
        "C, shift in place": native["shift_in_place"],
        "C, shift to another buffer": native["shift_to"],
        "C, dequantize and requantize in one float pass": native["fused_float"],
        "torch.compile of the same": _compiled(weights),
        "NumPy, buffers used again": _numpy(weights),
        "torch, buffers used again": _torch_buffers(weights),
        "torch dequantize, quantize_per_tensor": _per_tensor(weights),
        "torch eager": _eager(weights),
    }


def _native(weights: list[npt.NDArray[np.int8]]) -> dict[str, Call]:
    with tempfile.TemporaryDirectory() as folder:
        compiled, path = Path(folder) / "requantize.o", Path(folder) / "requantize.so"
        subprocess.run(["cc", *FLAGS, "-c", str(SOURCE), "-o", str(compiled)], check=True)
        # linked apart: with -ffast-math the linker adds code that makes the whole process flush subnormal floats to 0
        subprocess.run(["cc", "-shared", str(compiled), "-o", str(path), "-lm"], check=True)
        library = ctypes.CDLL(str(path))
    sources, targets = [w.copy() for w in weights], [np.empty_like(w) for w in weights]
    steps = [(_steps(w, STEP), _steps(w, NARROW)) for w in weights]
    size = ctypes.c_int64

    def fused() -> None:
        for w, out, (a, b) in zip(sources, targets, steps, strict=True):
            library.fused_float(_at(w), _at(out), size(len(w)), size(w.shape[1]), _at(a), _at(b))

    def shift_to() -> None:
        for w, out in zip(sources, targets, strict=True):
            library.shift_to(_at(w), _at(out), size(w.size))

    def in_place() -> None:
        for w in targets:
            library.shift_in_place(_at(w), size(w.size))

    return {"fused_float": fused, "shift_to": shift_to, "shift_in_place": in_place}


def _at(array: npt.NDArray[Any]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def _steps(w: npt.NDArray[np.int8], step: float) -> npt.NDArray[np.float32]:
    return np.full((len(w), 1), step, dtype=np.float32)


def _requantize(w: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return ((w.to(torch.float32) * a) / b).round().clamp(LO, HI).to(torch.int8)


def _over(change: Callable[..., Any], weights: list[npt.NDArray[np.int8]]) -> Call:
    """``change`` of every layer's weights and its two steps."""
    each = [tuple(map(torch.from_numpy, (w, _steps(w, STEP), _steps(w, NARROW)))) for w in weights]

    def call() -> None:
        for tensors in each:
            change(*tensors)

    return call


def _eager(weights: list[npt.NDArray[np.int8]]) -> Call:
    return _over(_requantize, weights)


def _compiled(weights: list[npt.NDArray[np.int8]]) -> Call:
    return _over(torch.compile(_requantize, dynamic=True), weights)


def _numpy(weights: list[npt.NDArray[np.int8]]) -> Call:
    largest = max(w.size for w in weights)
    real, out = np.empty(largest, dtype=np.float32), np.empty(largest, dtype=np.int8)
    steps = [_steps(w, STEP) / _steps(w, NARROW) for w in weights]

    def change(w: npt.NDArray[np.int8], step: npt.NDArray[np.float32]) -> None:
        held = real[: w.size].reshape(w.shape)
        np.multiply(w, step, out=held)
        np.rint(held, out=held)
        np.clip(held, LO, HI, out=held)
        np.copyto(out[: w.size].reshape(w.shape), held, casting="unsafe")

    def call() -> None:
        for w, step in zip(weights, steps, strict=True):
            change(w, step)

    return call


def _torch_buffers(weights: list[npt.NDArray[np.int8]]) -> Call:
    largest = max(w.size for w in weights)
    real, out = torch.empty(largest), torch.empty(largest, dtype=torch.int8)

    def change(w: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> None:
        held = real[: w.numel()].view(w.shape)
        held.copy_(w).mul_(a / b).round_().clamp_(LO, HI)
        out[: w.numel()].view(w.shape).copy_(held)

    return _over(change, weights)


def _per_tensor(weights: list[npt.NDArray[np.int8]]) -> Call:
    made = partial(torch.quantize_per_tensor, zero_point=0, dtype=torch.qint8)
    held = [made(torch.from_numpy(w).float() * STEP, scale=STEP) for w in weights]

    def call() -> None:
        for w in held:
            made(w.dequantize(), scale=NARROW)

    return call
