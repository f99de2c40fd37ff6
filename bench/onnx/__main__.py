"""ONNX models in other engines: which operators equal the interpreter, and ResNet-50 in integers and in QDQ form."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from bench.common import Check, parser, write
from bench.onnx.engines import VERSIONS
from bench.onnx.operators import by_operator
from bench.onnx.speed import resnet50

EXPORT, AT_4, SLOWER = 20.0, 0.55, 2.0
"""Targets: seconds to export ResNet-50, its file at 4 bits over that at 8, integer form over QDQ form in time."""


def main() -> None:
    """Measure, print, write."""
    options = parser(__doc__)
    options.add_argument("--networks", type=Path, help="folder of bench.networks; default: made anew")
    options.add_argument("--rounds", type=int, default=9)
    options.add_argument("--seeds", type=int, default=24, help="random programs of each kind")
    arguments = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = resnet50(arguments.networks or Path(folder), arguments.rounds)
    print(found, flush=True)
    results = {"resnet50": found, "operators": by_operator(arguments.seeds)}
    settings = {
        "rounds": arguments.rounds,
        "seeds": arguments.seeds,
        "threads": 1,
        "rounded": True,
        "versions": VERSIONS,
    }
    write("onnx", settings=settings, results=results, checks=checks(results))


def checks(results: dict[str, Any]) -> list[Check]:
    """Numbers beside their targets."""
    found, operators = results["resnet50"], results["operators"].values()
    made = found["integer"]
    wrong = sum(each["onnxruntime"].get(kind, 0) for each in operators for kind in ("differs", "refused"))
    return [
        Check("operators that ONNX Runtime computes otherwise, cases", wrong, "<=", 0),
        Check("seconds to export ResNet-50", max(row["export_s"] for row in made.values()), "<=", EXPORT),
        Check("ResNet-50 at 4 bits over 8, bytes", made["4"]["bytes"] / made["8"]["bytes"], "<=", AT_4),
        Check("integer form over QDQ form, time, median", found["integer_over"]["qdq"]["median"], "<=", SLOWER),
        Check(
            "the same over QDQ form that does not saturate",
            found["integer_over"]["qdq, precise"]["median"],
            "<=",
            SLOWER,
        ),
    ]


if __name__ == "__main__":
    main()
