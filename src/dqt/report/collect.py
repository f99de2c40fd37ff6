"""From evaluations of a program to the results that a report shows. Counts and compares; runs nothing."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from dqt.arith.plan import Plan
from dqt.program.evaluate import Comparison, Evaluation
from dqt.program.pixels import class_name
from dqt.program.planned import accumulator_bits
from dqt.program.task import CLASSIFICATION, Task
from dqt.report.records import Auto, EngineName, LayerRecord, Metric, Sample, Served, Time
from dqt.report.results import Kind, Results, Row

if TYPE_CHECKING:
    from dqt.program.program import Program

SHOWN = 8
"""How many of the easiest and of the hardest samples a report shows, and as many again between them."""
COLUMNS = 120
"""Samples of the map of widths by layer and sample."""
THUMBNAIL = 128
"""Pixels of a kept image's longer side, at most: larger ones are made smaller."""


def layers_of(program: Program) -> tuple[LayerRecord, ...]:
    """The layers that carry a width, with the bits proved for their accumulators."""
    bits = accumulator_bits(program)
    return tuple(
        LayerRecord(name=layer.name, macs=layer.macs, weights=layer.weights, accumulator_bits=bits[layer.name])
        for layer in program.space.layers
    )


def row_of(
    program: Program,
    label: str,
    kind: Kind,
    found: Evaluation,
    targets: Any,
    *,
    bits: int | None = None,
    plan: Plan | None = None,
    trained: Any = None,
    served: Comparison | None = None,
) -> Row:
    """One row of the results.

    Args:
        found: the program's answers.   targets: as the task's metric takes them, such as true classes ``[N]``.
        bits: the width of a uniform row.   plan: its widths, where they are the same for every sample.
        trained: the outputs of the network as it was trained, ``[N, ...]``, if it was run.
        served: how the engine's integers compare with the interpreter's, if that was compared.
    """
    mean = found.widths.mean(axis=0).tolist()
    known = {name: (float(b), float(b)) for name, b in zip(program.layers, mean, strict=True)}
    if plan is not None:
        known = {name: (float(bw), float(ba)) for name, (bw, ba) in plan.items()}
    task = found.task
    before = None if trained is None else task.value(task.rows(trained, targets))
    same = None if trained is None or task.answer is None else found.agreement(task.answer(trained))
    names = ("accuracy_trained", "accuracy_integer") if usual(task) else ("metric_trained", "metric_integer")
    scores: dict[str, Any] = dict(zip(names, (before, found.score(targets)), strict=True))
    return Row(
        label=label,
        kind=kind,
        bits=bits,
        widths={} if kind == "cascade" else known,  # those of the last pass alone would mislead
        agreement=same,
        bitops=float(found.bitops.mean()),
        share=found.share,
        served=None if served is None else Served(samples=served.samples, equal=served.equal),
        **scores,
    )


def usual(task: Task) -> bool:
    """Whether results are judged by top-1."""
    return task.name == CLASSIFICATION


def metric_of(task: Task) -> Metric | None:
    """The metric that results name."""
    return None if usual(task) else Metric(name=task.metric_name, unit=task.unit, higher=task.higher)


def auto_of(program: Program, found: Evaluation, targets: Any, images: npt.NDArray[np.uint8] | None = None) -> Auto:
    """What the controller chose, and with ``images``, uint8 ``[N, C, H, W]``, its easiest and hardest samples."""
    histogram: dict[str, dict[int, int]] = {}
    for i, layer in enumerate(program.space.layers):
        if not layer.edge:
            values, counts = np.unique(found.widths[:, i], return_counts=True)
            histogram[layer.name] = dict(zip(values.tolist(), counts.tolist(), strict=True))
    samples: list[Sample] = []
    order = np.argsort(found.bitops, kind="stable")
    if images is not None and images.ndim == 4 and images.shape[1] in (1, 3):
        count = min(SHOWN, len(order) // 2)
        words = _words(program, found, targets)
        parts = (("easy", order[:count]), ("hard", order[::-1][:count]), ("between", _even(order[count:-count], SHOWN)))
        samples = [_sample(found, words, images, i, difficulty) for difficulty, part in parts for i in part]
    shown = ("".join(str(width) for width in found.widths[i]) for i in _even(order, COLUMNS))
    return Auto(histogram=histogram, samples=tuple(samples), by_sample=tuple(shown))


def _even(order: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    """At most ``count`` of ``order``, at even distances, the first and the last among them."""
    return order[np.unique(np.linspace(0, len(order) - 1, min(count, len(order))).round().astype(np.int64))]


def _words(program: Program, found: Evaluation, targets: Any) -> Callable[[int], tuple[str, str]]:
    """What is right and what was said of a sample; of other tasks than classification the sample's own metric."""
    if usual(found.task):
        return lambda i: (class_name(program, int(targets[i])), class_name(program, int(found.predictions[i])))
    rows, task = found.rows(targets), found.task

    def judged(i: int) -> tuple[str, str]:
        said = f"{task.metric_name} {task.shown(task.value(rows[i : i + 1]))}"
        return said, said

    return judged


def _sample(
    found: Evaluation,
    words: Callable[[int], tuple[str, str]],
    images: npt.NDArray[np.uint8],
    i: int,
    difficulty: Any,
) -> Sample:
    label, prediction = words(i)
    return Sample(
        image=_picture(images[i]),
        widths=tuple(found.widths[i].tolist()),
        label=label,
        prediction=prediction,
        difficulty=difficulty,
    )


def _picture(image: npt.NDArray[np.uint8]) -> Any:
    """Pixels ``[C, H, W]`` as rows of values; as the text of a smaller PNG, if they are many."""
    pixels = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
    if max(pixels.shape[:2]) <= THUMBNAIL:
        return pixels.tolist()
    small = Image.fromarray(pixels)
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    buffer = io.BytesIO()
    small.save(buffer, format="PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def timed(results: Results, times: Mapping[str, tuple[float, float, float]], words: str) -> Results:
    """The results with the times of their rows.

    Args:
        times: label -> milliseconds of a sample: median, 10th and 90th percentile.   words: how they were measured.
    """
    known = {label: Time(ms=ms, p10=p10, p90=p90) for label, (ms, p10, p90) in times.items()}
    rows = tuple(row.model_copy(update={"time": known.get(row.label)}) for row in results.rows)
    return results.model_copy(update={"rows": rows, "timing": words})


def results_of(
    program: Program,
    rows: Sequence[Row],
    *,
    name: str,
    data: str,
    samples: int,
    model_bytes: int,
    auto: Auto | None,
    engine: EngineName | None = None,
    metric: Metric | None = None,
) -> Results:
    """The results of a run; arguments as in :class:`dqt.report.results.Results`."""
    return Results(
        name=name,
        data=data,
        samples=samples,
        model_bytes=model_bytes,
        master=program.space.master,
        engine=engine,
        metric=metric,
        layers=layers_of(program),
        rows=tuple(rows),
        auto=auto,
    )


def uniform_at(rows: Sequence[Row], share: float) -> float:
    """The metric of uniform widths at a share of the BitOPs, on the straight line between its two neighbours.

    What a random mix of the two widths would reach; beyond the ends, the metric of the end.
    """
    points = sorted((row.share, row.score) for row in rows if row.kind == "uniform")
    return float(np.interp(share, [x for x, _ in points], [y for _, y in points]))
