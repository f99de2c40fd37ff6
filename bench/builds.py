"""Two builds of the library beside each other in one run, before a change and after it: inference, loading, training.

    git worktree add ../before COMMIT && cd ../before && make setup
    python -m bench.builds ../before

Both builds work in turns on the same core, each in a process of its own with the programs that it lowered itself, and a
ratio compares times of the same round, in processor time. Short runs depend on where a process's memory lies, so the
rounds are spread over several pairs of processes. ``--isa avx2`` takes the kernels of that set in both.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from bench.common import Check, parser, write
from bench.networks import SIDES
from dqt.runtime.bench import Spread

HERE = Path(__file__).resolve().parent.parent
SLOWER, LOAD, TRAINING = 1.02, 0.6, 1.02
"""Time after over time before, at most: of a run, of loading ResNet-50, of a training step and of calibration."""
REPEATED = {"resnet18": 10, "resnet50": 5, "mobilenet_v2": 15, "resnet20": 30}
"""Runs of which the fastest counts: the first ones of a turn find the other build's data in the caches."""
Question = dict[str, Any]


class Build:
    """A checkout with its environment, and a process of it that answers with seconds."""

    def __init__(self, root: Path, folder: Path, isa: str) -> None:
        self.root, self.folder, self.isa, self.python = root, folder, isa, root / ".venv/bin/python"
        if not self.python.exists():
            raise SystemExit(f"{root} has no environment; run `make setup` there first")
        networks = [str(self.python), "-m", "bench.networks", str(folder)]
        subprocess.run(networks, cwd=root, check=True, stdout=subprocess.DEVNULL)
        self.process = self._started()

    def restart(self) -> None:
        """Go on in a new process."""
        self.process.communicate()
        self.process = self._started()

    def _started(self) -> subprocess.Popen[str]:
        worker = [str(self.python), "-W", "ignore", str(HERE / "bench/builds_worker.py"), str(self.folder), self.isa]
        return subprocess.Popen(worker, cwd=self.root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, question: Question) -> float:
        """Seconds of what is asked for."""
        process = self.process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(question) + "\n")
        process.stdin.flush()
        return float(json.loads(process.stdout.readline()))


def main() -> None:
    """Measure, print, write."""
    options = parser(__doc__)
    options.add_argument("before", type=Path, help="checkout of the other commit, with its environment")
    options.add_argument("--rounds", type=int, default=15, help="by pair of processes")
    options.add_argument("--starts", type=int, default=3, help="pairs of processes")
    options.add_argument("--networks", nargs="+", choices=SIDES, default=list(SIDES))
    options.add_argument("--only", nargs="+", choices=("run", "open", "load", "step", "calibrate"))
    options.add_argument("--isa", default="", help="kernels by name, in both builds; default: the best of each")
    options.add_argument("--folder", type=Path, help="where the networks are kept; made anew without")
    arguments = options.parse_args()
    rows: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder.resolve() if arguments.folder else Path(temporary)
        roots = {"before": arguments.before.resolve(), "after": HERE}
        builds = [Build(root, folder / name, arguments.isa) for name, root in roots.items()]
        for name, question in questions(arguments.networks).items():
            if arguments.only is None or question["what"] in arguments.only:
                rows[name] = compared(builds, question, arguments.rounds, arguments.starts)
                print(f"{name}: {rows[name]}", flush=True)
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], check=True, cwd=arguments.before, capture_output=True, text=True
    )
    settings = {
        "rounds": arguments.rounds,
        "starts": arguments.starts,
        "before": commit.stdout.strip(),
        "threads": 1,
        "clock": "processor",
        "isa": arguments.isa or "best",
    }
    write("builds", settings=settings, results=rows, checks=checks(rows))


def questions(networks: list[str]) -> dict[str, Question]:
    """What is timed, by the name of its row."""
    runs = {
        f"{network}, {width} bits, batch {batch}": {
            "what": "run", "network": network, "width": width, "batch": batch,
            "times": REPEATED[network],
        }
        for network in networks
        for batch in (1, 8)
        for width in (8, 4, 2)
    }  # fmt: skip
    files = {
        f"{network}, {what}": {"what": what, "network": network} for network in networks for what in ("open", "load")
    }
    files = {name: question for name, question in files.items() if question["network"] == "resnet50"}
    training = {f"training step at {width} bits": {"what": "step", "width": width} for width in (8, 2)}
    return {**runs, **files, **training, "calibration": {"what": "calibrate"}}


def compared(builds: list[Build], question: Question, rounds: int, starts: int) -> dict[str, Any]:
    """Milliseconds of both, and the ratio of the same round."""
    times: list[tuple[float, float]] = []
    for _ in range(starts):
        for build in builds:
            build.restart()
            build.ask(question)
        times += [_round(builds, question, first) for first in (i % 2 for i in range(rounds))]
    before, after = zip(*times, strict=True)
    return {
        "what": question["what"],
        "before_ms": round(1e3 * median(before), 3),
        "after_ms": round(1e3 * median(after), 3),
        "ratio": vars(Spread.of([b / a for a, b in times])),
    }


def _round(builds: list[Build], question: Question, first: int) -> tuple[float, float]:
    found = {index: builds[index].ask(question) for index in (first, 1 - first)}
    return found[0], found[1]


def checks(rows: dict[str, Any]) -> list[Check]:
    """Nothing slower by more than two percent, and loading faster."""
    limits = {"run": SLOWER, "open": LOAD, "load": 1.0, "step": TRAINING, "calibrate": TRAINING}
    return [
        Check(f"{name}: time after over before", row["ratio"]["median"], "<=", limits[row["what"]])
        for name, row in rows.items()
    ]


if __name__ == "__main__":
    main()
