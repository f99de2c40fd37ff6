"""``Runtime``: a program in the native engine. It holds no rounding rule of its own."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import numpy.typing as npt

from dqt.arith.cascade import Cascade
from dqt.arith.errors import InputError
from dqt.arith.plan import AUTO, Plan, PlanError, PlanLike, resolve, uniform
from dqt.program.file import dumps, outline
from dqt.program.inputs import Inputs, Samples, plain, states_of
from dqt.program.passes import Result, cascaded, check_cascade, chosen_of, dequantized
from dqt.program.program import Program, ProgramError, ProgramLike, as_program, loads
from dqt.program.signature import Signature
from dqt.runtime.bindings import Bindings
from dqt.runtime.native import (
    RuntimeUnavailableError,
    check_names,
    kernel_names,
    kernel_sets,
    native,
    of_file,
    thread_count,
)
from dqt.runtime.session import Session

__all__ = ["Runtime", "RuntimeUnavailableError", "kernel_names", "kernel_sets"]


class Runtime:
    """A program, packed once for this processor; runs at any plan, and gives the integers of :func:`dqt.interpret`.

    Several runtimes, and one from several threads, are safe. The GIL is released while the engine runs. A forked
    process may go on with the runtimes of its parent. Pickles and copies give equal answers: a pickle holds the program
    and the arguments below, and packs anew where it is read; a copy shares the packed weights.

    Args:
        program: the integer program, or the path of a ``.dqt`` file.
        threads: of one call; the default is the cores that this process may use, by its affinity and its cgroups. No
            call takes more threads than that, see :attr:`threads`.
        isa: kernels by name, one of :func:`kernel_sets`; the default is the best.
        kernel: one of :func:`kernel_names`, for every layer that it can run exactly; the default chooses for each layer
            and width by a model of what they cost. For tests and measurements: the integers are the same.

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
        module = native()
        check_names(module, isa, kernel)
        if threads is not None:
            threads = thread_count(threads)
        made = partial(module.engine, threads=threads or module.cores(), isa=isa or "", kernel=kernel or "")
        self._arguments = (threads, isa, kernel)
        self._source: Program | Path
        if isinstance(program, str | os.PathLike):
            self._source = Path(program).absolute()
            self._engine, (signature, self._digest) = of_file(module, made, Path(program))
        else:
            self._source, self._digest = as_program(program), ""
            self._engine, signature = made(dumps(self._source)), Signature.of(self._source)
        self._signature, self._space, self._inputs = signature, signature.space, Inputs(signature)
        self._bindings = Bindings(self._engine, signature, self._inputs)
        self._uniform: dict[int | None, Plan | Cascade | Literal["auto"]] = {}
        self._made: tuple[Any, Any] = (None, None)  # a plan, and its widths as the engine takes them
        module.trim()  # what loading took goes back to the system
        self._last: tuple[npt.NDArray[np.int8], npt.NDArray[np.int8] | None] = (
            np.empty((0, len(self._space.layers)), dtype=np.int8),
            None,
        )

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
        """Another runtime on the same packed weights, which never change."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
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
    def __call__(self, x: Any, plan: PlanLike = None, *, return_widths: Literal[False] = False) -> Any: ...
    @overload
    def __call__(
        self, x: Any, plan: PlanLike = None, *, return_widths: Literal[True]
    ) -> tuple[Any, npt.NDArray[np.int8]]: ...
    def __call__(self, x: Any, plan: PlanLike = None, *, return_widths: bool = False) -> Any:
        """Run on ``x`` under ``plan`` and dequantize once; arguments, result and errors as :func:`dqt.interpret`.

        Args:
            x: ``[N, *input_shape]``; float32 in C order from NumPy, torch or any DLPack producer is read in place. Of
                several inputs a dict by name, or a tuple in their order.
            plan: as of :func:`dqt.interpret`.
            return_widths: give the widths with the result, ``(y, widths)``: int8 ``[N, layers]``, what each sample ran
                at, the smaller of a pair.

        Raises:
            InputError: also where the program has states: a :meth:`session` holds them.

        Warns:
            InputRangeWarning: as :func:`dqt.interpret`, once for a runtime.
        """
        resolved, inputs = self._taken(x, plan)
        if isinstance(resolved, Cascade):
            result = self._cascade(inputs, resolved)
            y, widths = self.dequantized(result.codes), result.widths
        else:
            outs, widths = self._run(inputs, resolved, np.float32)
            y = outs[0] if len(outs) == 1 else dict(zip(self._signature.outputs, outs, strict=True))
            self._last = (widths, None)
        return (y, widths) if return_widths else y

    def codes(self, x: Any, plan: PlanLike = None) -> Any:
        """The integer output, int32 ``[N, ...]``, before its dequantization; otherwise as a call."""
        return self.execute(x, plan).codes

    def execute(self, x: Any, plan: PlanLike = None) -> Result:
        """As :func:`dqt.program.interpret.execute`: codes, widths and passes of a run, without the values inside."""
        resolved, inputs = self._taken(x, plan)
        return self._executed(inputs, resolved)

    def session(self, samples: int = 1) -> Session:
        """The states of so many samples, and calls that go from one to the next; without states, plain calls.

        Raises:
            InputError: less than one sample.
        """
        return Session(self, samples)

    def stateful(self, x: Any, plan: PlanLike, state: Mapping[str, Any] | None, *, samples: int) -> Result:
        """A run from a state, as a session makes it; ``None``: the start. :attr:`Result.state` is what it left.

        Raises:
            InputError, PlanError: as :func:`dqt.interpret`; or ``x`` has not so many samples.
        """
        resolved = self._resolved(plan)
        inputs = self._inputs(x)
        count = len(next(iter(inputs.values())))
        if count != samples:
            raise InputError(f"{count} samples, but this session has {samples}: run.session(samples={count}) makes one")
        return self._executed(inputs, resolved, state)

    def states(self, given: Mapping[str, Any] | None, samples: int) -> dict[str, npt.NDArray[np.int32]]:
        """States that a run of so many samples may begin with, checked: copies. ``None``: the start.

        Raises:
            InputError: states of another program, or of another number of samples.
        """
        return dict(states_of(self._signature, given, samples, None))

    def dequantized(self, codes: Any) -> Any:
        """Real outputs of the integers of a run: an array, or of several outputs a dict by name."""
        return dequantized(self._signature.outputs, codes)

    @property
    def widths(self) -> npt.NDArray[np.int8]:
        """Deprecated: the widths of the last call, whatever thread made it; they come back with the result."""
        _deprecated("widths", "run(x, plan, return_widths=True)")
        return self._last[0]

    @property
    def passes(self) -> npt.NDArray[np.int8]:
        """Deprecated: the passes of the last call, whatever thread made it; they come back with the result."""
        _deprecated("passes", "run.execute(x, plan).passes")
        widths, passes = self._last
        return np.ones(len(widths), dtype=np.int8) if passes is None else passes

    def profile(self, x: Any, plan: PlanLike = None) -> list[float]:
        """Seconds of each instruction in one run (with one thread, of processor); 0 where it did not run itself.

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

    def estimates(self, x: Any, plan: PlanLike = None) -> list[list[tuple[str, list[float], list[float]]]]:
        """The kernels that each layer chose among: name, what it does by counts, nanoseconds of each by the cost model.

        Raises:
            PlanError: as :meth:`profile`.
        """
        return list(self._profiled(x, plan)[2])

    def _profiled(self, x: Any, plan: PlanLike) -> tuple[list[float], list[str], list[Any]]:
        """Seconds, kernels and estimates of each instruction."""
        resolved = self._resolved(plan)
        if isinstance(resolved, Cascade):
            raise PlanError("a cascade is several runs: profile each of its widths")
        inputs = self._inputs(x)
        engine, _ = self._bindings.at(inputs)
        found: tuple[list[float], list[str], list[Any]] = engine.profile(_ordered(inputs), self._widths(resolved))
        return found

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
        fixed = uniform(space, self._engine.first) if isinstance(plan, str) else plan
        pairs = [pair for _, pair in fixed.items_] + [(space.master, space.master)] * len(space.controller)
        return self._engine.widths([bw for bw, _ in pairs], [ba for _, ba in pairs], isinstance(plan, str))

    def _taken(self, x: Any, plan: PlanLike) -> tuple[Plan | Cascade | Literal["auto"], Samples]:
        """Plan and inputs of a call without states, checked."""
        if self._signature.states:
            raise InputError("this program has states: session = run.session(samples=N) holds them, call that")
        resolved = self._resolved(plan)
        return resolved, self._inputs(x)

    def _cascade(self, inputs: Samples, cascade: Cascade) -> Result:
        check_cascade(self._signature)
        zeros = {name: value.zero for name, value in self._signature.outputs.items()}
        result = cascaded(inputs, cascade, lambda some, b: self._result(some, uniform(self._space, b)), zeros)
        self._last = (result.widths, result.passes)
        return result

    def _executed(
        self, inputs: Samples, plan: Plan | Cascade | Literal["auto"], state: Mapping[str, Any] | None = None
    ) -> Result:
        if isinstance(plan, Cascade):
            return self._cascade(inputs, plan)
        result = self._result(inputs, plan, state)
        self._last = (result.widths, result.passes)
        return result

    def _result(self, inputs: Samples, plan: Plan | Literal["auto"], state: Mapping[str, Any] | None = None) -> Result:
        count = len(next(iter(inputs.values())))
        before, after = {}, {}
        if self._signature.states:
            before = dict(states_of(self._signature, state, count, self._bindings.sizes(inputs)))
            after = {name: np.empty_like(array) for name, array in before.items()}
        arrays = [list(before.values()), list(after.values())] if before else []
        codes, widths = self._run(inputs, plan, np.int32, *arrays)
        by_name = dict(zip(self._signature.outputs, codes, strict=True))
        again = plan == AUTO and self._engine.again and chosen_of(self._space, widths) > self._engine.first
        return Result(plain(by_name), widths, np.ones(count, dtype=np.int8) + again, state=after)

    def _run(
        self, inputs: Samples, plan: Plan | Literal["auto"], dtype: Any, *states: list[npt.NDArray[np.int32]]
    ) -> tuple[list[npt.NDArray[Any]], npt.NDArray[np.int8]]:
        """Outputs in their order, and the widths; ``states``: before and after, where the program has some."""
        (engine, shapes), given = self._bindings.at(inputs), _ordered(inputs)
        count = len(given[0])
        outs = [np.empty((count, *shape), dtype=dtype) for shape in shapes]
        widths = np.empty((count, len(self._space.layers)), dtype=np.int8)
        if len(given) == len(outs) == 1 and not states:
            engine.run(given[0], self._widths(plan), outs[0], widths)
        else:
            engine.run(given, self._widths(plan), outs, widths, *states)
        return outs, widths


def _ordered(inputs: Samples) -> list[npt.NDArray[Any]]:
    """Inputs as the engine reads them, in the order of the program."""
    return [x if x.flags.carray else np.require(x, requirements=("C", "ALIGNED")) for x in inputs.values()]


def _deprecated(name: str, instead: str) -> None:
    warnings.warn(
        f"Runtime.{name} is that of the last call of any thread, and goes: {instead} gives it with the result",
        DeprecationWarning,
        stacklevel=3,
    )
