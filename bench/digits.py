"""What ``dqt demo`` does, with three seeds: integer accuracy by width, the plan, the controller and its rivals."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from typing import Any

from bench.common import Check, parser, write

RECIPE = Path(__file__).parent.parent / "src" / "dqt" / "train" / "recipes" / "digits.toml"
DEMO = "import sys; from dqt.cli import main; raise SystemExit(main(['demo', *sys.argv[1:]]))"
AT_LEAST = {8: 97, 7: 97, 6: 97, 5: 97, 4: 97, 3: 95, 2: 90}
MINUTES = 4


def main() -> None:
    """Run, print, write."""
    options = parser(__doc__)
    options.add_argument("--seeds", type=int, default=3)
    seeds = options.parse_args().seeds
    runs = []
    for seed in range(seeds):
        found = demo(seed)
        runs.append(summary(seed, found))
        print(runs[-1], flush=True)
    write("digits", settings={"recipe": RECIPE.name, "seeds": seeds}, results={"runs": runs}, checks=checks(runs))


def demo(seed: int) -> dict[str, Any]:
    """The JSON that ``dqt demo`` prints when the shipped recipe has this seed."""
    with TemporaryDirectory() as folder:
        recipe = Path(folder) / RECIPE.name
        recipe.write_text(RECIPE.read_text().rstrip() + f"\nseed = {seed}\n")  # [recipe] is the last section
        arguments = ["--json", "--recipe", str(recipe), "--out", str(Path(folder) / "out")]
        done = subprocess.run([sys.executable, "-c", DEMO, *arguments], stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def summary(seed: int, found: dict[str, Any]) -> dict[str, Any]:
    """One run's numbers, in percent."""
    rows = found["results"]["rows"]
    return {
        "seed": seed,
        "top1_integer": {row["label"]: percent(row["accuracy_integer"]) for row in rows},
        "top1_trained": {row["label"]: percent(row["accuracy_trained"]) for row in rows if "accuracy_trained" in row},
        "agreement": {row["label"]: percent(row["agreement"]) for row in rows if "agreement" in row},
        "share_of_bitops": {row["label"]: percent(row["share"]) for row in rows},
        "uniform_at_the_share_of_auto": percent(found["uniform_at_auto_share"]),
        "exact_equals_interpret": all(found["exact_equals_interpret"].values()),
        "seconds": found["seconds"],
    }


def percent(value: float) -> float:
    """Rounded to hundredths."""
    return round(100 * value, 2)


def checks(runs: list[dict[str, Any]]) -> list[Check]:
    """The targets, of the means over the seeds; the slowest run for the time."""
    made = [
        Check(f"integer top-1 at {b} bits, mean", mean_of(runs, f"{b} bits"), ">=", least)
        for b, least in AT_LEAST.items()
    ]
    gain = [run["top1_integer"]["auto"] - run["uniform_at_the_share_of_auto"] for run in runs]
    made.append(Check("auto above uniform widths at equal BitOPs, points, mean", round(mean(gain), 2), ">=", 0))
    equal = sum(run["exact_equals_interpret"] for run in runs)
    made.append(Check("runs whose exact network equals the program to the bit", equal, ">=", len(runs)))
    made.append(Check("seconds of a whole demo, slowest", max(run["seconds"] for run in runs), "<=", 60 * MINUTES))
    return made


def mean_of(runs: list[dict[str, Any]], label: str) -> float:
    """Mean integer top-1 of a row over the seeds."""
    return round(mean(run["top1_integer"][label] for run in runs), 2)


if __name__ == "__main__":
    main()
