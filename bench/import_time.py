"""How long ``import dqt`` takes in a fresh interpreter, and that it brings no torch."""

from __future__ import annotations

import json
import subprocess
import sys

from bench.common import Check, parser, write
from dqt.runtime.bench import Spread

CODE = """
import json, sys, time
start = time.perf_counter()
import dqt
seconds = time.perf_counter() - start
print(json.dumps([seconds, "torch" in sys.modules, len(sys.modules)]))
"""


def main() -> None:
    """Measure, print, write."""
    arguments = parser(__doc__)
    arguments.add_argument("--runs", type=int, default=20)
    runs = arguments.parse_args().runs
    found = [json.loads(subprocess.check_output([sys.executable, "-c", CODE])) for _ in range(runs)]
    seconds = Spread.of([item[0] for item in found])
    torch = sum(item[1] for item in found)
    checks = [
        Check("seconds of import dqt, 90th percentile", seconds.p90, "<=", 0.2),
        Check("runs in which it imports torch", torch, "<=", 0),
    ]
    write(
        "import_time",
        settings={"runs": runs},
        results={"seconds": vars(seconds), "modules": found[0][2]},
        checks=checks,
    )


if __name__ == "__main__":
    main()
