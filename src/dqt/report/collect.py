"""From evaluations of a program to the results that a report shows. Counts and compares; runs nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dqt.arith.plan import Plan
from dqt.program.evaluate import Comparison, Evaluation
from dqt.program.layered import accumulator_bits
from dqt.program.pixels import class_name
from dqt.report.results import Auto, EngineName, Kind, LayerRecord, Results, Row, Sample, Served

if TYPE_CHECKING:
    from dqt.program.program import Program

SHOWN = 8
"""How many of the easiest and of the hardest samples a report shows."""


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
    labels: npt.ArrayLike,
    *,
    bits: int | None = None,
    plan: Plan | None = None,
    trained: npt.ArrayLike | None = None,
    served: Comparison | None = None,
) -> Row:
    """One row of the results.

    Args:
        found: the program's answers.   labels: true classes, ``[N]``.
        bits: the width of a uniform row.   plan: its widths, where they are the same for every sample.
        trained: the answers of the network as it was trained, ``[N]``, if it was run.
        served: how the engine's integers compare with the interpreter's, if that was compared.
    """
    mean = found.widths.mean(axis=0).tolist()
    known = {name: (float(b), float(b)) for name, b in zip(program.layers, mean, strict=True)}
    if plan is not None:
        known = {name: (float(bw), float(ba)) for name, (bw, ba) in plan.items()}
    accuracy = None if trained is None else float((np.asarray(trained) == np.asarray(labels)).mean())
    return Row(
        label=label,
        kind=kind,
        bits=bits,
        widths={} if kind == "cascade" else known,  # those of the last pass alone would mislead
        accuracy_trained=accuracy,
        accuracy_integer=found.accuracy(labels),
        agreement=None if trained is None else found.agreement(trained),
        bitops=float(found.bitops.mean()),
        share=found.share,
        served=None if served is None else Served(samples=served.samples, equal=served.equal),
    )


def auto_of(
    program: Program, found: Evaluation, labels: npt.NDArray[Any], images: npt.NDArray[np.uint8] | None = None
) -> Auto:
    """What the controller chose, and with ``images``, uint8 ``[N, C, H, W]``, its easiest and hardest samples."""
    histogram: dict[str, dict[int, int]] = {}
    for i, layer in enumerate(program.space.layers):
        if not layer.edge:
            values, counts = np.unique(found.widths[:, i], return_counts=True)
            histogram[layer.name] = dict(zip(values.tolist(), counts.tolist(), strict=True))
    samples: list[Sample] = []
    if images is not None and images.ndim == 4 and images.shape[1] in (1, 3):
        order = np.argsort(found.bitops, kind="stable")
        count = min(SHOWN, len(order) // 2)
        samples += [_sample(program, found, labels, images, i, "easy") for i in order[:count]]
        samples += [_sample(program, found, labels, images, i, "hard") for i in order[::-1][:count]]
    return Auto(histogram=histogram, samples=tuple(samples))


def _sample(
    program: Program,
    found: Evaluation,
    labels: npt.NDArray[Any],
    images: npt.NDArray[np.uint8],
    i: int,
    difficulty: Any,
) -> Sample:
    picture = images[i, 0] if images.shape[1] == 1 else images[i].transpose(1, 2, 0)
    return Sample(
        image=picture.tolist(),
        widths=tuple(found.widths[i].tolist()),
        label=class_name(program, int(labels[i])),
        prediction=class_name(program, int(found.predictions[i])),
        difficulty=difficulty,
    )


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
) -> Results:
    """The results of a run; arguments as in :class:`dqt.report.results.Results`."""
    return Results(
        name=name,
        data=data,
        samples=samples,
        model_bytes=model_bytes,
        master=program.space.master,
        engine=engine,
        layers=layers_of(program),
        rows=tuple(rows),
        auto=auto,
    )


def uniform_at(rows: Sequence[Row], share: float) -> float:
    """Accuracy of uniform widths at a share of the BitOPs, on the straight line between its two neighbours.

    What a random mix of the two widths would reach; beyond the ends, the accuracy of the end.
    """
    points = sorted((row.share, row.accuracy_integer) for row in rows if row.kind == "uniform")
    return float(np.interp(share, [x for x, _ in points], [y for _, y in points]))
