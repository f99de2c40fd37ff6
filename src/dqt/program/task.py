"""What a network is for: its loss, its metric, what makes an answer sure. Needs no torch; the loss alone is torch's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from dqt.arith.errors import PlanError, TaskError
from dqt.arith.labels import IGNORED, class_labels, real_targets
from dqt.arith.margin import Margin, Positions, chosen_output
from dqt.program import scoring
from dqt.program.scoring import Metric, Rows, Total

Shapes: TypeAlias = tuple[int, ...] | Mapping[str, tuple[int, ...]]
"""The shape of the one output, or of several by name, without the batch."""
PERCENT, CLASSIFICATION = "%", "classification"
DENSE: dict[str, tuple[str, Callable[[int, int, str], Metric], Total]] = {
    "accuracy": ("pixel accuracy", scoring.right_positions, scoring.part),
    "mean IoU": ("mean IoU", scoring.overlap, scoring.mean_overlap),
}
"""Metric of dense prediction -> what tables call it, what a sample contributes, the value of all."""


@dataclass(frozen=True, eq=False)
class Task:
    """What a network is for, where it is trained, searched, judged and reported.

    :meth:`classification`, :meth:`dense`, :meth:`regression` and :meth:`language` come with dqt; where a task is asked
    for, their names serve as well. A task of your own needs a loss and a metric, such as those of a detector.

    Attributes:
        loss: what training minimizes: a function of what the model returns and of the targets, that gives a 0-d tensor,
            the mean over the samples; or ``"cross entropy"`` or ``"squared error"``.
        metric: a function of outputs and targets, NumPy arrays, or dicts of them by name where there are several. It
            gives what each sample contributes, ``[N]`` or ``[N, k]``; or one number, the mean over the samples.
        margin: how sure each sample is, for a cascade: a function of the integer outputs (real zero is 0) that gives
            integers ``[N]``. None: a cascade is refused.
        total: from what all samples contribute, float64 ``[M]`` or ``[M, k]``, to the metric's value.
        answer: from outputs to what the network says, ``[N, ...]``, to compare two networks, and as targets where a
            cascade is calibrated without any. None: nothing is compared, and a cascade needs targets.
        targets: ``"classes"``: integers from 0 by position, ``"numbers"``: finite and shaped as the output; or a
            function that takes the targets of a batch, and gives them as loss and metric take them or raises
            ValueError. None: whatever the data give.
        divergence: a function of two outputs, what the model returns, that gives a 0-d tensor: what a narrow pass
            learns from the master's, and what a search without targets measures. None: that of the loss, if it is one
            of dqt's; otherwise passes learn from the targets alone, and a search measures the relative squared error.
        higher: whether a larger value of the metric is better.
        name, metric_name, unit: for tables. The unit ``"%"`` shows a fraction in percent.
        axis: of the classes, 1 or -1.   ignore: the class of positions that do not count.
        output: of several outputs, the name of the one that a loss of dqt's, and classes, are about.
        spec: what makes this task again, plain JSON values; None for a task of the user's own.
    """

    loss: Callable[[Any, Any], Any] | Literal["cross entropy", "squared error"]
    metric: Metric
    _: KW_ONLY
    margin: Margin | Callable[[Any], Any] | None = None
    total: Total = scoring.mean
    answer: Callable[[Any], Any] | None = None
    targets: Literal["classes", "numbers"] | Callable[[Any], Any] | None = None
    divergence: Callable[[Any, Any], Any] | None = None
    higher: bool = True
    name: str = "task"
    metric_name: str = "metric"
    unit: str = ""
    axis: Literal[1, -1] = 1
    ignore: int = IGNORED
    output: str = ""
    spec: str | Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if not callable(self.loss) and self.loss not in ("cross entropy", "squared error"):
            raise TaskError(f'the loss of a task is {self.loss!r}: need a function, "cross entropy" or "squared error"')
        for role in ("metric", "total"):
            if not callable(getattr(self, role)):
                raise TaskError(f"the {role} of a task is {getattr(self, role)!r}: need a function")
        if self.targets not in (None, "classes", "numbers") and not callable(self.targets):
            raise TaskError(f'the targets of a task are {self.targets!r}: need a function, "classes" or "numbers"')

    # those that come with dqt

    @staticmethod
    def classification(output: str = "") -> Task:
        """One class for each sample: outputs ``[N, classes]``, cross entropy, top-1."""
        return Task(
            "cross entropy",
            scoring.right_classes(output),
            margin=Margin(output=output),
            answer=scoring.largest(1, output),
            targets="classes",
            name=CLASSIFICATION,
            metric_name="top-1",
            unit=PERCENT,
            output=output,
            spec=_spec(CLASSIFICATION, output=output),
        )

    @staticmethod
    def dense(metric: str = "accuracy", ignore: int = IGNORED, margin: Positions = "mean", output: str = "") -> Task:
        """A class for each position: outputs ``[N, classes, positions...]``, labels ``[N, positions...]``.

        Args:
            metric: ``"accuracy"``, the part of the positions that are right, or ``"mean IoU"``.
            ignore: the label of positions that do not count.
            margin: ``"mean"`` over the positions, or ``"low"``, that of the least sure tenth.
        """
        if metric not in DENSE:
            raise TaskError(f"the metric of dense prediction is {metric!r}: need {' or '.join(map(repr, DENSE))}")
        name, rows, total = DENSE[metric]
        return Task(
            "cross entropy",
            rows(1, ignore, output),
            margin=Margin(margin, 1, output),
            total=total,
            answer=scoring.largest(1, output),
            targets="classes",
            name="dense",
            metric_name=name,
            unit=PERCENT,
            ignore=ignore,
            output=output,
            spec=_spec("dense", metric=metric, ignore=ignore, margin=margin, output=output),
        )

    @staticmethod
    def regression(output: str = "") -> Task:
        """Numbers, shaped as the output: squared error, and its root. No number says how sure it is: no margin."""
        return Task(
            "squared error",
            scoring.squared_error(output),
            total=scoring.root_of_mean,
            targets="numbers",
            higher=False,
            name="regression",
            metric_name="RMSE",
            output=output,
            spec=_spec("regression", output=output),
        )

    @staticmethod
    def language(ignore: int = IGNORED, margin: Positions = "mean", output: str = "") -> Task:
        """A token for each position: outputs ``[N, T, tokens]``, labels ``[N, T]``, cross entropy, perplexity.

        Output ``[n, t]`` scores the label ``[n, t]``: who predicts the next token shifts the labels by one.
        """
        return Task(
            "cross entropy",
            scoring.surprise(-1, ignore, output),
            margin=Margin(margin, -1, output),
            total=scoring.exponential,
            answer=scoring.largest(-1, output),
            targets="classes",
            higher=False,
            name="language",
            metric_name="perplexity",
            axis=-1,
            ignore=ignore,
            output=output,
            spec=_spec("language", ignore=ignore, margin=margin, output=output),
        )

    # targets

    def checked(
        self,
        given: Any,
        shapes: Shapes,
        count: int,
        *,
        samples: Sequence[int] | None = None,
        error: type[Exception] = TaskError,
    ) -> Any:
        """``given``, the targets of ``count`` samples, as loss and metric take them.

        Args:
            shapes: of the network's outputs.   samples: where they stand in their data set, for the message.
            error: the class to raise.

        Raises:
            error: they do not fit the task, or the network's output does not.
        """
        if self.targets == "classes":
            shape = self.classes_in(shapes, error)
            classes, where = (shape[0], shape[1:]) if self.axis == 1 else (shape[-1], shape[:-1])
            return class_labels(given, (count, *where), classes, error=error, samples=samples, ignored=self.ignore)
        if self.targets == "numbers":
            return real_targets(given, (count, *chosen_output(shapes, self.output)), error=error, samples=samples)
        if callable(self.targets):
            try:
                given = self.targets(given)
            except ValueError as refused:
                raise error(f"targets of the task {self.name}: {refused}") from refused
        if hasattr(given, "__len__") and not isinstance(given, Mapping) and len(given) != count:
            raise error(f"{len(given)} targets for {count} samples")
        return given

    def classes_in(self, shapes: Shapes, error: type[Exception] = TaskError) -> tuple[int, ...]:
        """The shape of the scores, without the batch.

        Raises:
            error: they are not scores of two classes or more.
        """
        shape: tuple[int, ...] = chosen_output(shapes, self.output)
        if not shape or shape[0 if self.axis == 1 else -1] < 2:
            need = "[N, classes, ...]" if self.axis == 1 else "[N, ..., classes]"
            raise error(
                f"the network gives {['N', *shape]}: cross entropy needs {need} with two classes or more; for another "
                'task say which: task="regression", or a dqt.Task of your own (docs/guide/tasks.md)'
            )
        return shape

    # the metric

    def rows(self, outputs: Any, targets: Any) -> Rows:
        """What each sample contributes to the metric, float64 ``[N]`` or ``[N, k]``.

        Args:
            outputs: float64 ``[N, ...]``, or several by name.   targets: as :meth:`checked` gives them, for NumPy.

        Raises:
            TaskError: the metric gives something else.
        """
        first = next(iter(outputs.values())) if isinstance(outputs, Mapping) else outputs
        count = len(first)
        found = self.metric(outputs, targets)
        made = np.asarray(found.detach().cpu() if hasattr(found, "detach") else found, dtype=np.float64)
        if made.ndim == 0:  # a mean over the batch: every sample contributes as much
            made = np.full(count, float(made))
        if made.ndim > 2 or len(made) != count:
            raise TaskError(
                f"the metric {self.metric_name} gives an array of shape {list(made.shape)} for {count} samples: need "
                "one number, or [N] or [N, k]"
            )
        return made

    def value(self, rows: Rows) -> float:
        """The metric of all samples from what each contributes."""
        return float(self.total(rows))

    def gain(self, value: float) -> float:
        """``value``, turned so that larger is better."""
        return value if self.higher else -value

    def shown(self, value: float | None) -> str:
        """A value of the metric in words: ``91.73 %``, ``0.1234``, ``3.41 dB``; a dash for None."""
        return shown(value, self.unit)

    @property
    def sure(self) -> Margin | Callable[[Any], Any]:
        """The margin.

        Raises:
            PlanError: the task has none.
        """
        if self.margin is None:
            raise PlanError(
                f"a cascade runs unsure samples again, and {self.name} does not say how sure an answer is: choose "
                "widths with dqt.search, or use a dqt.Task with a margin of your own"
            )
        return self.margin


DEFAULTS: dict[str, Any] = {"metric": "accuracy", "ignore": IGNORED, "margin": "mean", "output": ""}


def _spec(name: str, **settings: Any) -> str | dict[str, Any]:
    """What :func:`task_of` makes the task from again: its name, and the settings that are not the usual ones."""
    changed = {key: value for key, value in settings.items() if value != DEFAULTS[key]}
    return {"name": name, **changed} if changed else name


TASKS: dict[str, Callable[..., Task]] = {
    CLASSIFICATION: Task.classification,
    "dense": Task.dense,
    "regression": Task.regression,
    "language": Task.language,
}
"""The tasks that are called by name."""
GivenTask: TypeAlias = "Task | str | Mapping[str, Any]"
"""A task; its name; or ``{"name": ..., **settings}``."""


def task_of(given: GivenTask) -> Task:
    """The task that was given.

    Raises:
        TaskError: an unknown name, or settings that the task does not have.
    """
    if isinstance(given, Task):
        return given
    entries = dict(given) if isinstance(given, Mapping) else {"name": given}
    name = entries.pop("name", None)
    if name == "detection":
        raise TaskError("detection needs a loss and a metric of yours: pass dqt.Task(loss=..., metric=..., ...)")
    if not isinstance(name, str) or name not in TASKS:
        raise TaskError(f"task {name!r}: known are {', '.join(TASKS)}; or pass a dqt.Task of your own")
    try:
        return TASKS[name](**entries)
    except TypeError:
        raise TaskError(f"task {name!r} does not have all of the settings {', '.join(entries)}") from None


def task_for(given: GivenTask | None, shapes: Shapes, info: Mapping[str, Any] | None = None) -> Task:
    """The task that was given; or that ``info`` names; or classification, of each position where there are some.

    Raises:
        TaskError: see :func:`task_of`; or ``info`` names a task that is not one of dqt's.
    """
    if given is not None:
        return task_of(given)
    named = (info or {}).get("task")
    if named is not None:
        try:
            return task_of(named)
        except TaskError:
            raise TaskError(
                f"this network was trained for {named!r}, a task of your own: pass it (task=, --task file.py:name)"
            ) from None
    return task_of("dense" if not isinstance(shapes, Mapping) and len(shapes) > 1 else CLASSIFICATION)


def shown(value: float | None, unit: str) -> str:
    """See :meth:`Task.shown`."""
    if value is None:
        return "–"
    return f"{100 * value:.2f} %" if unit == PERCENT else f"{value:.4g} {unit}".rstrip()
