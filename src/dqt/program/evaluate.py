"""What a program answers on a set of samples, and what that cost. Targets are compared, never read by the run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from dqt.arith.cascade import Cascade
from dqt.arith.cost import chosen_bitops, cost, full_bitops
from dqt.arith.errors import InputError
from dqt.arith.plan import AUTO, Plan, PlanError, PlanLike, resolve
from dqt.program.inputs import Samples, as_inputs, inputs_of, plain, rows
from dqt.program.passes import Result, dequantized, execute
from dqt.program.program import Program, ProgramLike, as_program
from dqt.program.scoring import Rows, reals
from dqt.program.signature import Signature, only
from dqt.program.task import GivenTask, Task, task_for
from dqt.program.values import Value

Ints = npt.NDArray[np.int64]
Engine: TypeAlias = Callable[[Any, PlanLike], Result]
"""What runs a program: inputs and a plan to integers, such as ``dqt.Runtime(program).execute``."""
BATCH = 256
FEW = 16
"""Samples that the interpreter takes at once where its progress is shown."""
COMPARED = 64
"""Samples of a run that are compared with the definition, unless told otherwise."""


@dataclass(frozen=True)
class Comparison:
    """An engine beside the interpreter: on ``equal`` of ``samples`` samples it gave the very same integers."""

    samples: int
    equal: int


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The answers of one plan.

    Attributes:
        predictions: what the network says by its task's ``answer``: of classification int64 ``[N]``, the class with the
            largest integer output; None where the task has none.
        widths: int8 ``[N, layers]``, as in :class:`dqt.program.interpret.Result`.
        bitops: int64 ``[N]``, of everything that ran: the controller, every pass.
        share: mean BitOPs as a fraction of every layer at the master.
        codes: int32 ``[N, ...]``, the integer outputs.
        outputs: float64 ``[N, ...]``, the reals that they stand for.   task: what they are for.
        judged: what each sample contributes to the metric, where the answers themselves were not kept.
    """

    predictions: Any
    widths: npt.NDArray[np.int8]
    bitops: Ints
    share: float
    codes: npt.NDArray[np.int32]
    outputs: Any = None
    task: Task = field(default_factory=Task.classification)
    judged: Rows | None = None

    def rows(self, targets: Any) -> Rows:
        """What each sample contributes to the task's metric, see :meth:`dqt.Task.rows`."""
        return self.task.rows(self.outputs, targets) if self.judged is None else self.judged

    def score(self, targets: Any) -> float:
        """The task's metric; ``targets``: as the metric takes them."""
        return self.task.value(self.rows(targets))

    def accuracy(self, labels: npt.ArrayLike) -> float:
        """Top-1 in [0, 1]; ``labels``: integers ``[N]``."""
        return self.agreement(labels)

    def agreement(self, others: npt.ArrayLike) -> float:
        """The share of samples (of positions) on which these answers and ``others`` are the same."""
        return float((self.predictions == np.asarray(others)).mean())


def evaluate(
    program: ProgramLike,
    inputs: Any,
    plan: PlanLike = None,
    *,
    advance: Callable[[int], object] | None = None,
    engine: Engine | None = None,
    task: GivenTask | None = None,
) -> Evaluation:
    """Run ``program`` on ``inputs``, as :func:`dqt.interpret`, under ``plan``; ``advance`` is told what is done.

    ``engine`` runs it; the interpreter, if left out. ``task`` says what the outputs are for; by default the program.

    Raises:
        InputError, PlanError: as :func:`dqt.interpret`.   TaskError: an unknown task, or one without classes to tell.
    """
    program, x = _bound(program, inputs)
    resolve(program.space, plan)
    found = task_of_program(program, task)
    return _collected(program, plan, _execute(program, x, plan, advance, engine), found)


def _bound(program: ProgramLike, inputs: Any) -> tuple[Program, Samples]:
    """The program for the sizes of these inputs, and the inputs by name. It must have one output and no states.

    Raises:
        InputError: it has not; or as :func:`as_inputs`.
    """
    program = as_program(program)
    only("output", [out.name for out in program.outputs])
    if program.states:
        raise InputError("this program has states, so its samples are no series of independent runs: use dqt.interpret")
    x = as_inputs(inputs, program)
    return program.bind(**inputs_of(program).sizes(x)), x


def _count(x: Samples) -> int:
    return len(next(iter(x.values())))


def evaluate_widths(
    program: ProgramLike,
    inputs: Any,
    widths: npt.NDArray[np.int8],
    *,
    engine: Engine | None = None,
    task: GivenTask | None = None,
) -> Evaluation:
    """Each sample at widths that are given for it, ``[N, layers]``; samples of equal widths run together.

    For comparison with a controller: the same choices dealt to other samples. They cost what they cost the
    controller, its own operations included, and the first run where it has samples run again.

    Raises:
        InputError, PlanError: as :func:`evaluate`.
    """
    program, x = _bound(program, inputs)
    if widths.shape != (_count(x), len(program.layers)):
        raise PlanError(f"widths of shape {list(widths.shape)}: need [{_count(x)}, {len(program.layers)}]")
    kinds, group = np.unique(widths, axis=0, return_inverse=True)
    parts, order = [], []
    for i, row in enumerate(kinds):
        mine = np.flatnonzero(group.ravel() == i)
        plan = Plan.of({name: int(b) for name, b in zip(program.layers, row, strict=True)})
        parts.append((engine or interpreter(program))(plain(rows(x, mine)), plan).codes)
        order.append(mine)
    codes = np.concatenate(parts)[np.argsort(np.concatenate(order))]
    bitops = _chosen(program, widths, _passes(program, widths))
    return _evaluation(program, codes, widths, bitops, task_of_program(program, task))


def as_defined(
    program: ProgramLike,
    inputs: Any,
    plan: PlanLike | npt.NDArray[np.int8],
    served: Evaluation,
    count: int = COMPARED,
    *,
    advance: Callable[[int], object] | None = None,
) -> Comparison:
    """Compare what an engine ``served`` on ``inputs`` with the interpreter, on ``count`` samples spread over them.

    The served integers are those of the batches they ran in; the interpreter gets these samples alone. A sample is
    equal if its outputs, its widths and its cost are. ``plan`` is the one that was served, or the widths given to
    :func:`evaluate_widths`. ``advance`` is told what the interpreter has done: it is the slow one.
    """
    program, x = _bound(program, inputs)
    some = np.unique(np.linspace(0, _count(x) - 1, min(count, _count(x))).round().astype(np.int64))
    if isinstance(plan, np.ndarray):
        defined = evaluate_widths(program, rows(x, some), plan[some], task=served.task)
    else:
        done = _execute(program, rows(x, some), plan, advance, None, batch=FEW)
        defined = _collected(program, plan, done, served.task)
    same = (served.codes[some] == defined.codes).reshape(len(some), -1).all(axis=1)
    equal = same & (served.bitops[some] == defined.bitops)
    equal &= (served.widths[some] == defined.widths).all(axis=1)
    return Comparison(len(some), int(equal.sum()))


def run_batches(
    program: ProgramLike,
    inputs: Any,
    plan: PlanLike = None,
    *,
    advance: Callable[[int], object] | None = None,
    engine: Engine | None = None,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int8], npt.NDArray[np.int8]]:
    """Outputs as :func:`dqt.interpret` gives them, float32 ``[N, ...]``; widths and passes of each sample."""
    program, x = _bound(program, inputs)
    outputs = Signature.of(program).outputs
    done = _execute(program, x, plan, advance, engine)
    codes, widths, passes = (
        np.concatenate([getattr(part, name) for part in done]) for name in ("codes", "widths", "passes")
    )
    return dequantized(outputs, codes), widths, passes


def interpreter(program: Program) -> Engine:
    """The engine that defines the result."""
    return lambda x, plan: execute(program, x, plan)


def _execute(
    program: Program,
    x: Samples,
    plan: PlanLike,
    advance: Callable[[int], object] | None,
    engine: Engine | None,
    batch: int = BATCH,
) -> list[Result]:
    parts: list[Result] = []
    run = engine or interpreter(program)
    for start in range(0, _count(x), batch):
        parts.append(run(plain(rows(x, slice(start, start + batch))), plan))
        if advance is not None:
            advance(len(parts[-1].passes))
    return parts


def task_of_program(program: Program, given: GivenTask | None = None) -> Task:
    """The task that is given, or else that of the program.

    Raises:
        TaskError: see :func:`dqt.program.task.task_for`.
    """
    return task_for(given, output_value(program).shape, program.info)


def output_value(program: Program) -> Value:
    """What the program's integer output stands for."""
    return next(value for value in program.values if value.name == program.output)


def _collected(program: Program, plan: PlanLike, parts: list[Result], task: Task) -> Evaluation:
    widths, passes, codes = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("widths", "passes", "codes")
    )
    return _evaluation(program, codes, widths, _paid(program, plan, widths, passes), task)


def _evaluation(
    program: Program, codes: npt.NDArray[np.int32], widths: npt.NDArray[np.int8], bitops: Ints, task: Task
) -> Evaluation:
    out = output_value(program)
    if task.targets == "classes":
        task.classes_in(out.shape)
    outputs = reals(codes, out)
    answers = task.answer(outputs) if task.answer else None
    share = float(bitops.mean()) / full_bitops(program.space)
    return Evaluation(answers, widths, bitops, share, codes, outputs, task)


def _paid(program: Program, plan: PlanLike, widths: npt.NDArray[np.int8], passes: npt.NDArray[np.int8]) -> Ints:
    fixed = resolve(program.space, plan)
    if fixed == AUTO:
        return _chosen(program, widths, passes)
    if isinstance(fixed, Cascade):
        prices = np.cumsum([cost(program, b).bitops for b in fixed.widths], dtype=np.int64)
        return prices[passes.astype(np.int64) - 1]
    return np.full(len(widths), cost(program, fixed).bitops, dtype=np.int64)


def _chosen(program: Program, widths: npt.NDArray[np.int8], passes: npt.NDArray[np.int8]) -> Ints:
    """BitOPs of each sample at the widths of its last run, with the first run where it ran again."""
    before = cost(program, program.first).bitops if program.again else 0
    return chosen_bitops(program.space, widths) + (passes.astype(np.int64) - 1) * before


def _passes(program: Program, widths: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
    """How often the controller has samples run that end at these widths."""
    if not program.again:
        return np.ones(len(widths), np.int8)
    first = resolve(program.space, program.first)
    assert isinstance(first, Plan)
    return (1 + (widths != [first[name][0] for name in program.layers]).any(1)).astype(np.int8)
