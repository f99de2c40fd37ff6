"""``Runtime``: a program in the native engine. It holds no rounding rule of its own."""

from __future__ import annotations

import os
from types import ModuleType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from dqt.arith.errors import InputError
from dqt.arith.plan import Cascade, Plan, PlanError, PlanLike, resolve, uniform
from dqt.program.file import dumps
from dqt.program.interpret import Result, as_input, cascaded
from dqt.program.ops.dequantize import Dequantize
from dqt.program.program import Program


class RuntimeUnavailableError(RuntimeError):
    """The native engine is not built, or has no kernels of the name that was asked for."""


class Runtime:
    """A program, packed once for this processor; runs at any plan, and gives the integers of :func:`dqt.interpret`.

    Several runtimes, and one from several threads, are safe; ``widths`` and ``passes`` are those of the call that
    ended last. The GIL is released while the engine runs.

    Args:
        program: the integer program, or the path of a ``.dqt`` file.
        threads: of one call; the default is the cores that this process may use.
        isa: kernels by name, one of :func:`kernel_sets`; the default is the best.
        kernel: one of :func:`kernel_names`, for every layer that it can run exactly; the default chooses for each layer
            and width by a model of what they cost. For tests and measurements: the integers are the same.

    Attributes:
        widths: int8 ``[N, layers]`` of the last call, the width of each layer for each sample (the smaller of a pair).
        passes: int8 ``[N]`` of the last call, how often a sample went through the network: 1, but for cascades.

    Raises:
        RuntimeUnavailableError: see above.
    """

    def __init__(
        self,
        program: Program | str | os.PathLike[str],
        threads: int | None = None,
        isa: str | None = None,
        kernel: str | None = None,
    ) -> None:
        native = _native()
        if isa is not None and isa not in native.kernel_sets():
            raise RuntimeUnavailableError(f"isa {isa!r}: this processor runs {', '.join(native.kernel_sets())}")
        if threads is not None and threads < 1:
            raise ValueError(f"threads={threads}: need at least 1")
        if kernel is not None and kernel not in native.kernel_names():
            raise RuntimeUnavailableError(f"kernel {kernel!r}: there are {', '.join(native.kernel_names())}")
        self._source = program
        loaded = self.program
        self._engine = native.engine(dumps(loaded), threads or native.cores(), isa or "", kernel or "")
        last = loaded.ops[-1]
        self._output = next(v for v in loaded.values if isinstance(last, Dequantize) and v.name == last.x)
        self._space, self._input_shape = loaded.space, loaded.input_shape
        del loaded
        native.trim()  # what loading took goes back to the system
        self.widths: npt.NDArray[np.int8] = np.empty((0, len(self._space.layers)), dtype=np.int8)
        self.passes: npt.NDArray[np.int8] = np.empty(0, dtype=np.int8)

    @property
    def program(self) -> Program:
        """The program; where its path was given, read again: the engine's packed weights are then the only copy."""
        return self._source if isinstance(self._source, Program) else Program.load(self._source)

    @property
    def isa(self) -> str:
        """Name of the kernels in use."""
        return str(self._engine.isa)

    @property
    def threads(self) -> int:
        """Threads of one call."""
        return int(self._engine.threads)

    @property
    def weight_bytes(self) -> int:
        """Bytes of the packed weights, which serve every plan."""
        return int(self._engine.weight_bytes)

    def arena_bytes(self, samples: int = 1) -> int:
        """Bytes that the values of so many samples take while they run together."""
        return int(self._engine.arena_bytes(samples))

    def __call__(self, x: Any, plan: PlanLike = None) -> npt.NDArray[np.float32]:
        """Run on ``x`` under ``plan`` and dequantize once; arguments, result and errors as :func:`dqt.interpret`.

        ``x``: ``[N, *input_shape]``; float32 in C order from NumPy, torch or any DLPack producer is read in place.
        """
        resolved = resolve(self._space, plan)
        inputs = as_input(_array(x), self._input_shape)
        if isinstance(resolved, Cascade):
            codes = self._cascade(inputs, resolved).codes
            step = np.float32(self._output.step)
            return np.asarray((codes - self._output.zero).astype(np.float32) * step)
        out = np.empty((len(inputs), *self._output.shape), dtype=np.float32)
        self.widths, self.passes = self._run(self._engine.floats, inputs, resolved, out)
        return out

    def codes(self, x: Any, plan: PlanLike = None) -> npt.NDArray[np.int32]:
        """The integer output, int32 ``[N, ...]``, before its dequantization; otherwise as a call."""
        return self.execute(x, plan).codes

    def execute(self, x: Any, plan: PlanLike = None) -> Result:
        """As :func:`dqt.program.interpret.execute`: codes, widths and passes of a run, without the values inside."""
        resolved = resolve(self._space, plan)
        inputs = as_input(_array(x), self._input_shape)
        if isinstance(resolved, Cascade):
            return self._cascade(inputs, resolved)
        result = self._result(inputs, resolved)
        self.widths, self.passes = result.widths, result.passes
        return result

    def profile(self, x: Any, plan: PlanLike = None) -> list[float]:
        """Seconds of each instruction of the program in one run; 0 where it did not run, or another did its work.

        Raises:
            PlanError: as a call; or the plan is a cascade, which is several runs.
        """
        return list(self._profiled(x, plan)[0])

    def kernels(self, x: Any, plan: PlanLike = None) -> list[str]:
        """The kernel of each instruction in such a run: "depthwise", or one of :func:`kernel_names`; "" of no layer.

        "several" where groups of samples have different ones.

        Raises:
            PlanError: as :meth:`profile`.
        """
        return list(self._profiled(x, plan)[1])

    def _profiled(self, x: Any, plan: PlanLike) -> tuple[list[float], list[str]]:
        """Seconds and kernels of each instruction.

        Raises:
            PlanError: as a call; or the plan is a cascade, which is several runs.
        """
        resolved = resolve(self._space, plan)
        if isinstance(resolved, Cascade):
            raise PlanError("a cascade is several runs: profile each of its widths")
        inputs = np.ascontiguousarray(as_input(_array(x), self._input_shape))
        return self._engine.profile(inputs, self._widths(resolved))

    def peak(self) -> float:
        """Products a second of the block kernel on one thread where nothing else counts, measured now."""
        return float(self._engine.peak())

    def _widths(self, plan: Plan | Literal["auto"]) -> Any:
        """The widths of every layer, the controller's own after them, as the engine takes them."""
        space = self._space
        fixed = uniform(space, space.master) if isinstance(plan, str) else plan
        pairs = [pair for _, pair in fixed.items_] + [(space.master, space.master)] * len(space.controller)
        return self._engine.widths([bw for bw, _ in pairs], [ba for _, ba in pairs], isinstance(plan, str))

    def _cascade(self, inputs: npt.NDArray[np.float32], cascade: Cascade) -> Result:
        result = cascaded(inputs, cascade, lambda some, b: self._result(some, uniform(self._space, b)))
        self.widths, self.passes = result.widths, result.passes
        return result

    def _result(self, inputs: npt.NDArray[np.float32], plan: Plan | Literal["auto"]) -> Result:
        codes = np.empty((len(inputs), *self._output.shape), dtype=np.int32)
        widths, passes = self._run(self._engine.codes, inputs, plan, codes)
        return Result(codes, widths, passes)

    def _run(
        self, call: Any, inputs: npt.NDArray[np.float32], plan: Plan | Literal["auto"], out: npt.NDArray[Any]
    ) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int8]]:
        widths = np.empty((len(inputs), len(self._space.layers)), dtype=np.int8)
        call(np.ascontiguousarray(inputs), self._widths(plan), out, widths)
        return widths, np.ones(len(inputs), dtype=np.int8)


def kernel_sets() -> tuple[str, ...]:
    """Names of the kernel sets that this processor runs, best first.

    Raises:
        RuntimeUnavailableError: the native engine is not built.
    """
    return tuple(_native().kernel_sets())


def kernel_names() -> tuple[str, ...]:
    """Names of the kernels that :class:`Runtime` chooses among, layer by layer.

    Raises:
        RuntimeUnavailableError: the native engine is not built.
    """
    return tuple(_native().kernel_names())


def _native() -> ModuleType:
    try:
        import dqt._native as native
    except ImportError as error:
        raise RuntimeUnavailableError(
            f"the native engine is not built ({error}): install dqt with pip, or use dqt.interpret"
        ) from None
    return native


def _array(x: Any) -> Any:
    """``x`` as an array without a copy where DLPack allows; other things as they are."""
    if isinstance(x, np.ndarray) or not hasattr(x, "__dlpack__") or hasattr(x, "detach"):
        return x
    try:
        return np.from_dlpack(x)
    except (BufferError, RuntimeError, TypeError) as error:
        raise InputError(f"the input cannot be read in place ({error}): pass a CPU array") from None

