"""How a program runs in NumPy integers: one plan, a cascade, a controller whose samples run again.

Every value is an integer and every operation on values is one of :mod:`dqt.arith`. What an operator computes stands in
its file of :mod:`dqt.program.ops`; :mod:`dqt.program.arrays` says where a product may go through floating point and why
that is exact. A batch runs in slices to bound memory; integers make the result independent of how it is cut.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from dqt.arith.cascade import Cascade
from dqt.arith.margin import Margin
from dqt.arith.plan import AUTO, Plan, PlanError, PlanLike, Space, resolve, uniform
from dqt.program.arrays import Array, NumpyArrays
from dqt.program.execute import Execution, Machine
from dqt.program.inputs import Floats, Samples, inputs_of, plain, rows, states_of
from dqt.program.parallel import cores, each
from dqt.program.schema import size
from dqt.program.signature import Signature
from dqt.program.values import Value

if TYPE_CHECKING:
    from dqt.program.program import Program

SLICE_ELEMENTS, SLICE_SAMPLES = 1 << 25, 128
"""A slice has at most this many samples, and elements in its largest value."""
Ints: TypeAlias = npt.NDArray[np.int32]
Arrays: TypeAlias = tuple[Mapping[str, Array], Mapping[str, Array]]


@dataclass(frozen=True, eq=False)
class Result:
    """What a run gave, in integers.

    Attributes:
        codes: int32 ``[N, ...]``, the output before its dequantization; of several outputs a dict by name.
        widths: int8 ``[N, layers]``, the width of each layer for each sample, in the order of ``program.layers``. Where
            a plan gives weights and activations different widths, the smaller; in a cascade, and where a controller
            has samples run again, those of the last pass.
        passes: int8 ``[N]``, how many times a sample went through the network: 1 but in these two.
        values: with ``keep``, every value that was computed, by name, ``[N, *shape]``; otherwise empty.
        state: int32 ``[N, *shape]`` of each state, for the next run; empty where the program has none.
    """

    codes: Any
    widths: npt.NDArray[np.int8]
    passes: npt.NDArray[np.int8]
    values: Mapping[str, Array] = field(default_factory=dict)
    state: Mapping[str, Ints] = field(default_factory=dict)


def outputs_of(program: Program, x: Any, plan: PlanLike, state: Mapping[str, Any] | None) -> Any:
    """What :func:`dqt.interpret` returns."""
    result = execute(program, x, plan, state)
    y = dequantized(Signature.of(program).outputs, result.codes)
    return (y, result.state) if program.states else y


def dequantized(outputs: Mapping[str, Value], codes: Any) -> Any:
    """Real outputs, float32, of the integers of a run: an array, or of several outputs a dict by name."""
    by_name = codes if len(outputs) > 1 else {next(iter(outputs)): codes}
    return plain({name: _real(by_name[name], value) for name, value in outputs.items()})


def _real(q: Ints, value: Value) -> Floats:
    return np.asarray((q - value.zero).astype(np.float32) * np.float32(value.scale))


def execute(
    program: Program,
    x: Any,
    plan: PlanLike = None,
    state: Mapping[str, Any] | None = None,
    *,
    keep: bool = False,
) -> Result:
    """Run ``program`` on ``x`` under ``plan`` and return its integers; arguments and errors as :func:`dqt.interpret`.

    One batch may mix widths ("auto", a cascade); each sample gets what it would get alone.
    """
    resolved = resolve(program.space, plan)
    taken = inputs_of(program)
    inputs = taken(x)
    program = program.bind(**taken.sizes(inputs)) if program.dims else program
    signature = Signature.of(program)
    zeros = {name: value.zero for name, value in signature.outputs.items()}

    def at(some: Samples, b: int) -> Result:
        return _run(program, some, uniform(program.space, b), None, keep)

    if isinstance(resolved, Cascade):
        check_cascade(signature)
        return cascaded(inputs, resolved, at, zeros)
    result = _run(program, inputs, resolved, _states(program, state, _count(inputs)), keep)
    if resolved == AUTO and program.again:
        run_again(inputs, result, chosen_of(program.space, result.widths), program.first, at, zeros)
    return result


def check_cascade(program: Signature) -> None:
    """Refuse a cascade for a program that has none.

    Raises:
        PlanError: it has states, which a second pass would change again.
    """
    if program.states:
        raise PlanError("a cascade runs samples again, and this program has states, which every run changes")


def margins(codes: Ints) -> npt.NDArray[np.int64]:
    """How sure each sample is: the difference of its two largest integer outputs, int64 ``[N]``.

    Raises:
        PlanError: the output is not a vector of two or more.
    """
    return Margin()(codes)


def cascaded(
    inputs: Samples, cascade: Cascade, run: Callable[[Samples, int], Result], zeros: Mapping[str, int]
) -> Result:
    """Run all at the first width; those at or below the margin run again at the next.

    Args:
        run: samples at a width.   zeros: the code of real 0 in each output.
    """
    result = run(inputs, cascade.widths[0])
    kept = _arrays(result, zeros)
    unsure = np.arange(_count(inputs))
    for b, threshold in zip(cascade.widths[1:], cascade.margins, strict=True):
        integers = {name: kept[0][name][unsure] - np.int64(zero) for name, zero in zeros.items()}
        unsure = unsure[cascade.sure(plain(integers), len(unsure)) <= threshold]
        if len(unsure) == 0:
            break
        _replace(result, kept, unsure, _arrays(run(rows(inputs, unsure), b), zeros))
    return result


def chosen_of(space: Space, widths: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
    """The one width of all layers but the edges that each sample chose, int8 ``[N]``; ``widths``: of a run."""
    return widths[:, space.names.index(space.chosen[0])]


def run_again(
    inputs: Samples,
    result: Result,
    chosen: npt.NDArray[np.int8],
    first: int,
    run: Callable[[Samples, int], Result],
    zeros: Mapping[str, int],
) -> None:
    """Run samples that chose more than ``first`` bits again at what they chose, and put that into ``result``."""
    kept = _arrays(result, zeros)
    for b in np.unique(chosen[chosen > first]).tolist():
        mine = np.flatnonzero(chosen == b)
        _replace(result, kept, mine, _arrays(run(rows(inputs, mine), b), zeros))


def _replace(result: Result, kept: Arrays, mine: npt.NDArray[np.int64], new: Arrays) -> None:
    """Put what another pass gave for the samples ``mine`` in the place of what ``result`` holds, in ``kept``."""
    for old, some in zip(kept, new, strict=True):
        for name, array in some.items():
            old[name][mine] = array
    result.passes[mine] += 1


def _arrays(result: Result, zeros: Mapping[str, int]) -> Arrays:
    """The outputs by name with the widths, and the values that were kept: what another pass replaces."""
    outputs = result.codes if len(zeros) > 1 else {next(iter(zeros)): result.codes}
    return {**outputs, "": result.widths}, result.values


def _states(program: Program, given: Any, count: int) -> Samples | None:
    """The states to begin with, in the types of their values; ``None``: their start."""
    if given is None:
        return None
    taken = states_of(program, given, count, program.sizes)
    return {state.name: taken[state.name].astype(state.as_value("").dtype) for state in program.states}


def _count(inputs: Samples) -> int:
    return len(next(iter(inputs.values())))


def _run(program: Program, inputs: Samples, plan: Plan | Literal["auto"], state: Samples | None, keep: bool) -> Result:
    machine, total = Machine(program, plan, NumpyArrays()), _count(inputs)
    largest = max(size(value.shape) for value in program.values)
    count = max(1, min(SLICE_SAMPLES, SLICE_ELEMENTS // largest, -(-total // cores())))
    slices = [slice(i, i + count) for i in range(0, total, count)]
    parts = each(lambda some: _run_slice(machine, rows(inputs, some), state and rows(state, some), keep), slices)
    return Result(
        plain(_joined([part.outputs for part in parts])),
        np.concatenate([_widths(part) for part in parts]),
        np.ones(total, dtype=np.int8),
        _joined([part.kept for part in parts], as_they_are=True),
        _joined([part.stored for part in parts]),
    )


def _run_slice(machine: Machine, inputs: Samples, state: Samples | None, keep: bool) -> Execution:
    with np.errstate(over="ignore"):  # an input beyond the range may become infinite before it is clipped
        return machine.run(inputs, state, keep=keep)


def _joined(parts: list[dict[str, Array]], *, as_they_are: bool = False) -> dict[str, Array]:
    """Slices of a batch put together, by name; int32, unless they stay ``as_they_are``."""
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return joined if as_they_are else {name: array.astype(np.int32, copy=False) for name, array in joined.items()}


def _widths(run: Execution) -> npt.NDArray[np.int8]:
    """int8 ``[N, layers]``, see :class:`Result`."""
    result = np.empty((run.count, len(run.space.names)), dtype=np.int8)
    for i, name in enumerate(run.space.names):
        result[:, i] = run.chosen.get(name, min(run.machine.pairs[name]))
    return result
