"""What tells which images gain by more bits, beside the margin of a 2-bit run?

An image gains where 2 bits are wrong and a wider width is right. Logistic regressions learn that from one half of the
test images and rank the other half, both ways; a rank of 50 % is chance, one of 100 % knows (area under the ROC curve).
They read the margin alone, or further margins, the classes that are named, the features that the classifier reads.
Where nothing is better than the margin, no controller behind the run is better than a cascade's threshold.

    python -m bench.knows --data DIR [NAME=FILE ...]      the record keeps those that are not named
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from statistics import mean
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from bench.again import halves
from bench.common import RESULTS, Check, write
from bench.late import SEEDS
from bench.named import images_of, named_parser, programs_of, results_in
from bench.robust import BATCH
from dqt.program.ops.dequantize import Dequantize
from dqt.program.ops.linear import Linear
from dqt.program.program import Program
from dqt.runtime import Runtime
from dqt.train.data import DataSet

Floats = npt.NDArray[np.float64]
FIRST, WIDER = 2, (3, 4, 8)
MARGIN, STRENGTH, ITERATIONS = "the margin", 0.05, 500
MORE = 1.0
"""Points of rank that something else should know more than the margin does."""


def outputs(program: Program, data: DataSet) -> tuple[dict[int, Floats], Floats]:
    """The outputs at each width, and what the classifier reads at ``FIRST`` bits, ``[N, features]``."""
    (classifier,) = (op for op in program.ops if isinstance(op, Linear) and not op.out.startswith("controller."))
    (main,) = program.outputs
    run = Runtime(replace(program, ops=(*program.ops, Dequantize(classifier.x, "features"))), threads=1)
    x = data.inputs().numpy()
    found: dict[int, list[dict[str, Any]]] = {}
    for b in (FIRST, *WIDER):
        found[b] = [run(x[first : first + BATCH], b) for first in range(0, len(x), BATCH)]
    made = {b: np.concatenate([part[main.name] for part in parts]).astype(np.float64) for b, parts in found.items()}
    return made, np.concatenate([part["features"] for part in found[FIRST]]).astype(np.float64)


def readings(logits: Floats, features: Floats) -> dict[str, Floats]:
    """What a regression may read, ``[N, ...]`` each."""
    order = np.argsort(-logits, 1)
    top = np.take_along_axis(logits, order, 1)
    margins = (top[:, :1] - top[:, 1:]) / logits.std()
    one = margins[:, :1]
    alone = np.concatenate([one, np.log1p(one)], 1)
    first, second = (np.eye(logits.shape[1])[order[:, i]] for i in (0, 1))
    return {
        MARGIN: alone,
        "all margins": np.concatenate([margins, np.log1p(margins)], 1),
        "the margin, by the class that is named": np.concatenate([alone, first, first * one], 1),
        "the margin, and both classes that it lies between": np.concatenate([alone, first, second, first * one], 1),
        "all outputs": np.concatenate([alone, margins, logits], 1),
        "the margin, and the features that the classifier reads": np.concatenate([alone, features], 1),
    }


def rank(x: Floats, gains: npt.NDArray[np.bool_], seed: int) -> float:
    """Area under the ROC curve in percent, both halves ranked by the other."""
    found = []
    for learned, judged in halves(len(x), seed):
        scaler = StandardScaler().fit(x[learned])
        model = LogisticRegression(C=STRENGTH, max_iter=ITERATIONS).fit(scaler.transform(x[learned]), gains[learned])
        found.append(float(roc_auc_score(gains[judged], model.decision_function(scaler.transform(x[judged])))))
    return 100 * mean(found)


def measured(program: Program, data: DataSet) -> dict[str, Any]:
    """Every reading, by the width that is right where 2 bits are wrong."""
    made, features = outputs(program, data)
    labels = data.labels.numpy()
    right = {b: logits.argmax(1) == labels for b, logits in made.items()}
    gains = {b: ~right[FIRST] & right[b] for b in WIDER}
    rows = {
        name: {str(b): [round(rank(x, gains[b], seed), 3) for seed in SEEDS] for b in WIDER}
        for name, x in readings(made[FIRST], features).items()
    }
    return {"gain": {str(b): round(100 * float(each.mean()), 2) for b, each in gains.items()}, "rows": rows}


def checks(results: dict[str, Any]) -> Iterator[Check]:
    """The best reading beside the margin alone."""
    for network, found in results.items():
        for b in map(str, WIDER):
            known = {name: mean(row[b]) for name, row in found["rows"].items()}
            more = round(max(known.values()) - known[MARGIN], 3)
            yield Check(
                f"{network}, {b} bits: the best reading over the margin alone, points of rank", more, ">=", MORE
            )


def main() -> None:
    """Measure what is named, print, write; the record keeps the others."""
    arguments = named_parser(__doc__).parse_args()
    splits, _ = images_of(arguments)
    results = results_in(RESULTS / "knows.json")
    for name, program in programs_of(arguments):
        results[name] = measured(program, splits.test)
        print(name, results[name], flush=True)
    settings = {"seeds": SEEDS, "images": len(splits.test), "first": FIRST, "strength": STRENGTH}
    write("knows", settings=settings, results=results, checks=list(checks(results)))


if __name__ == "__main__":
    main()
