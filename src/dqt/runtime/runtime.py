"""``Runtime``: a program in the native engine. It holds no rounding rule of its own."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, overload

import numpy as np
import numpy.typing as npt

from dqt.arith.cascade import Cascade
from dqt.arith.plan import Plan, PlanError, PlanLike, resolve, uniform
from dqt.arith.whole import index
from dqt.program.file import dumps, loads, outline
from dqt.program.inputs import Inputs
from dqt.program.interpret import Result, cascaded
from dqt.program.program import Program, ProgramError, ProgramLike, as_program
from dqt.program.signature import Signature

MOST_THREADS = 1 << 16


class RuntimeUnavailableError(RuntimeError):
    """The native engine is not built, or has no kernels of the name that was asked for."""


class Runtime:
    """A program, packed once for this processor; runs at any plan, and gives the integers of :func:`dqt.interpret`.

    Several runtimes, and one from several threads, are safe; ``widths`` and ``passes`` are those of the call that
    ended last. The GIL is released while the engine runs. A forked process may go on with the runtimes of its parent.
    Pickles and copies give equal answers: a pickle holds the program and the arguments below, and packs anew where it
    is read; a copy shares the packed weights.

    Args:
        program: the integer program, or the path of a ``.dqt`` file.
        threads: of one call; the default is the cores that this process may use, by its affinity and its cgroups. No
            call takes more threads than that, see :attr:`threads`.
        isa: kernels by name, one of :func:`kernel_sets`; the default is the best.
        kernel: one of :func:`kernel_names`, for every layer that it can run exactly; the default chooses for each layer
            and width by a model of what they cost. For tests and measurements: the integers are the same.

    Attributes:
        widths: int8 ``[N, layers]`` of the last call, the width of each layer for each sample (the smaller of a pair).
        passes: int8 ``[N]`` of the last call, how often a sample went through the network: 1, but for cascades.

    Raises:
        RuntimeUnavailableError: see above; also where a pickle is read that asks for kernels by name.
        ProgramError: ``program`` is something else, or no legal file.
    """

    def __init__(
        self,
        program: ProgramLike,
        threads: int | None = None,
        isa: str | None = None,
        kernel: str | None = None,
    ) -> None:
        native = _native()
        if isa is not None and isa not in native.kernel_sets():
            raise RuntimeUnavailableError(f"isa {isa!r}: this processor runs {', '.join(native.kernel_sets())}")
        if threads is not None:
            threads = _thread_count(threads)
        if kernel is not None and kernel not in native.kernel_names():
            raise RuntimeUnavailableError(f"kernel {kernel!r}: there are {', '.join(native.kernel_names())}")
        made = partial(native.engine, threads=threads or native.cores(), isa=isa or "", kernel=kernel or "")
        self._arguments = (threads, isa, kernel)
        self._source: Program | Path
        if isinstance(program, str | os.PathLike):
            self._source = Path(program).absolute()
            self._engine, (signature, self._digest) = _of_file(native, made, Path(program))
        else:
            self._source, self._digest = as_program(program), ""
            self._engine, signature = made(dumps(self._source)), Signature.of(self._source)
        self._space, self._output, self._inputs = signature.space, signature.output, Inputs(signature)
        self._uniform: dict[int | None, Plan | Cascade | Literal["auto"]] = {}
        self._made: tuple[Any, Any] = (None, None)  # a plan, and its widths as the engine takes them
        native.trim()  # what loading took goes back to the system
        self.widths: npt.NDArray[np.int8] = np.empty((0, len(self._space.layers)), dtype=np.int8)
        self.passes: npt.NDArray[np.int8] = np.empty(0, dtype=np.int8)

    @property
    def program(self) -> Program:
        """The program; where its path was given, read again: the engine's packed weights are then the only copy.

        Raises:
            ProgramError: the file holds another program by now.
            OSError: it cannot be read any more.
        """
        if isinstance(self._source, Program):
            return self._source
        data = self._source.read_bytes()
        try:
            loaded = loads(data)
        except ProgramError as error:
            raise ProgramError(f"{self._source}: {error}") from None
        if outline(data)[1] != self._digest:
            raise ProgramError(f"{self._source} holds another program than this Runtime: make a new one of it")
        return loaded

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.program, *self._arguments)

    def __copy__(self) -> Runtime:
        """Another runtime on the same packed weights, which never change; the last call's widths are its own."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other.widths, other.passes = self.widths.copy(), self.passes.copy()
        return other

    def __deepcopy__(self, memo: dict[int, Any]) -> Runtime:
        return self.__copy__()

    @property
    def isa(self) -> str:
        """Name of the kernels in use."""
        return str(self._engine.isa)

    @property
    def threads(self) -> int:
        """Threads of one call: those asked for, but no more than the cores that the calling thread may use now.

        While other calls of this process run, a call takes the cores that they leave, and at least its own.
        """
        return int(self._engine.threads)

    @property
    def weight_bytes(self) -> int:
        """Bytes of the packed weights, which serve every plan."""
        return int(self._engine.weight_bytes)

    def arena_bytes(self, samples: int = 1) -> int:
        """Bytes that the values of so many samples take while they run together."""
        return int(self._engine.arena_bytes(samples))

    @overload
    def __call__(
        self, x: Any, plan: PlanLike = None, *, return_widths: Literal[False] = False
    ) -> npt.NDArray[np.float32]: ...
    @overload
    def __call__(
        self, x: Any, plan: PlanLike = None, *, return_widths: Literal[True]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int8]]: ...
    def __call__(self, x: Any, plan: PlanLike = None, *, return_widths: bool = False) -> Any:
        """Run on ``x`` under ``plan`` and dequantize once; arguments, result and errors as :func:`dqt.interpret`.

        Args:
            x: ``[N, *input_shape]``; float32 in C order from NumPy, torch or any DLPack producer is read in place.
            plan: as of :func:`dqt.interpret`.
            return_widths: give the widths with the result, ``(y, widths)``: int8 ``[N, layers]``, what each sample ran
                at. Where several threads call one runtime, ``run.widths`` may be those of another thread's call.

        Warns:
            InputRangeWarning: as :func:`dqt.interpret`, once for a runtime.
        """
        resolved = self._resolved(plan)
        inputs = self._inputs(x)
        if isinstance(resolved, Cascade):
            result = self._cascade(inputs, resolved)
            codes, widths = result.codes, result.widths
            out = np.asarray((codes - self._output.zero).astype(np.float32) * np.float32(self._output.step))
        else:
            out = np.empty((len(inputs), *self._output.shape), dtype=np.float32)
            widths, passes = self._run(self._engine.floats, inputs, resolved, out)
            self.widths, self.passes = widths, passes
        return (out, widths) if return_widths else out

    def codes(self, x: Any, plan: PlanLike = None) -> npt.NDArray[np.int32]:
        """The integer output, int32 ``[N, ...]``, before its dequantization; otherwise as a call."""
        return self.execute(x, plan).codes

    def execute(self, x: Any, plan: PlanLike = None) -> Result:
        """As :func:`dqt.program.interpret.execute`: codes, widths and passes of a run, without the values inside."""
        resolved = self._resolved(plan)
        inputs = self._inputs(x)
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
        resolved = self._resolved(plan)
        if isinstance(resolved, Cascade):
            raise PlanError("a cascade is several runs: profile each of its widths")
        inputs = np.require(self._inputs(x), requirements=("C", "ALIGNED"))
        return self._engine.profile(inputs, self._widths(resolved))

    def peak(self) -> float:
        """Products a second of the block kernel on one thread where nothing else counts, measured now."""
        return float(self._engine.peak())

    def _resolved(self, plan: PlanLike) -> Plan | Cascade | Literal["auto"]:
        """What ``plan`` means here; a width, which most calls pass, means the same object each time."""
        if plan is not None and type(plan) is not int:
            return resolve(self._space, plan)
        if plan not in self._uniform:
            self._uniform[plan] = resolve(self._space, plan)
        return self._uniform[plan]

    def _widths(self, plan: Plan | Literal["auto"]) -> Any:
        """The widths of every layer, the controller's own after them, as the engine takes them."""
        last, made = self._made
        if last is not plan:
            made = self._native_widths(plan)
            self._made = (plan, made)
        return made

    def _native_widths(self, plan: Plan | Literal["auto"]) -> Any:
        space = self._space
        fixed = uniform(space, space.master) if isinstance(plan, str) else plan
        pairs = [pair for _, pair in fixed.items_] + [(space.master, space.master)] * len(space.controller)
        return self._engine.widths([bw for bw, _ in pairs], [ba for _, ba in pairs], isinstance(plan, str))

    def _cascade(self, inputs: npt.NDArray[np.float32], cascade: Cascade) -> Result:
        zero = self._output.zero
        result = cascaded(inputs, cascade, lambda some, b: self._result(some, uniform(self._space, b)), zero)
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
        ordered = inputs if inputs.flags.carray else np.require(inputs, requirements=("C", "ALIGNED"))
        call(ordered, self._widths(plan), out, widths)
        return widths, np.ones(len(inputs), dtype=np.int8)


def _of_file(native: ModuleType, made: Callable[[bytes], Any], path: Path) -> tuple[Any, tuple[Signature, str]]:
    """The engine of a file, which verifies it; its signature and digest. The program is never an object of Python."""
    data = path.read_bytes()
    try:
        return made(data), outline(data)
    except native.LoadError as error:
        raise ProgramError(f"{path}: {error}") from None


def _thread_count(threads: Any) -> int:
    """``threads`` as the engine takes it; more than any machine has cores is as good as that.

    Raises:
        ValueError: no whole number of at least 1.
    """
    count = index(threads)
    if count is None or count < 1:
        raise ValueError(f"threads={threads!r}: need a whole number of at least 1, or None for all cores")
    return min(count, MOST_THREADS)


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
