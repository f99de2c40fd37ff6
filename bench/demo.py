"""What ``dqt demo`` says of its "auto", on several seeds: beside uniform widths at the BitOPs that it takes.

python -m bench.demo [--folder DIR]     runs the demo once a seed; a run that is complete in DIR is not repeated
"""

from __future__ import annotations

import hashlib
import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import mean
from typing import Any

from bench.common import Check, parser, write
from dqt.cli.train import shipped

SEEDS = (0, 1, 2, 3, 4)
RECIPES = ("digits", "digits-controller")
SECTION, ANSWER = "[recipe]\n", "answer.json"
NOT_BELOW = 0.0


def recipes(seed: int) -> dict[str, str]:
    """The run files of the demo with a seed, by file name."""
    texts = {f"{name}.toml": shipped()[name].read_text() for name in RECIPES}
    return {name: text.replace(SECTION, f"{SECTION}seed = {seed}\n") for name, text in texts.items()}


def ran(folder: Path, seed: int) -> dict[str, Any]:
    """What the demo prints as JSON, and the processor seconds that it took; from ``folder`` where it ran before."""
    texts = recipes(seed)
    mine = folder / f"{hashlib.sha256(''.join(texts.values()).encode()).hexdigest()[:12]}-s{seed}"
    path = mine / ANSWER
    if not path.exists():
        mine.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (mine / name).write_text(text)
        command = ["demo", "--out", str(mine / "out"), "--recipe", str(mine / f"{RECIPES[0]}.toml"), "--json"]
        before = _processor_seconds()
        made = subprocess.run([sys.executable, "-m", "dqt", *command], check=True, stdout=subprocess.PIPE, text=True)
        answer = json.loads(made.stdout) | {"processor_seconds": round(_processor_seconds() - before, 1)}
        path.write_text(json.dumps(answer))
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def row(seed: int, answer: dict[str, Any]) -> dict[str, Any]:
    """One seed: top-1 and BitOPs in percent."""
    rows = answer["results"]["rows"]
    (auto,), (dealt,) = ([each for each in rows if each["kind"] == kind] for kind in ("auto", "random"))
    cascades = [each for each in rows if each["kind"] == "cascade"]
    uniform = {str(each["bits"]): _percent(each["accuracy_integer"]) for each in rows if each["kind"] == "uniform"}
    return {
        "seed": seed,
        "auto": _percent(auto["accuracy_integer"]),
        "uniform there": _percent(answer["uniform_at_auto_share"]),
        "dealt": _percent(dealt["accuracy_integer"]),
        "share": _percent(auto["share"]),
        "cascade": _percent(cascades[0]["accuracy_integer"]) if cascades else None,
        "cascade share": _percent(cascades[0]["share"]) if cascades else None,
        "uniform": uniform,
        "samples": answer["results"]["samples"],
        "processor seconds": answer["processor_seconds"],
    }


def _percent(part: float) -> float:
    return round(100 * part, 4)


def checks(rows: list[dict[str, Any]]) -> Iterator[Check]:
    """Every seed beside its target."""
    for each in rows:
        over = round(each["auto"] - each["uniform there"], 4)
        yield Check(f"seed {each['seed']}: points of auto over uniform widths at its BitOPs", over, ">=", NOT_BELOW)


def main() -> None:
    """Run, print, write."""
    options = parser(__doc__)
    options.add_argument("--folder", type=Path, default=Path("runs/demo"), help="holds a folder for each seed")
    arguments = options.parse_args()
    rows = []
    for seed in SEEDS:
        rows.append(row(seed, ran(arguments.folder, seed)))
        print(rows[-1], flush=True)
    summary = {key: round(mean(each[key] for each in rows), 4) for key in ("auto", "uniform there", "dealt", "share")}
    write("demo", settings={"seeds": SEEDS}, results={"mean": summary, "rows": rows}, checks=list(checks(rows)))


if __name__ == "__main__":
    main()
