"""Take real models through prepare, calibrate, lower and every way to run them; record what becomes of each.

Each model runs in a process of its own, within limits of time and memory. The record is written after each, and models
that it has are left out, so that the script goes on where it was interrupted.

python -m bench.models                      every model that the record lacks
python -m bench.models timm/ written/vit    those whose names begin so, again
python -m bench.models --stopped            those that did not go through, again
python -m bench.models --held-out           the networks that are kept out of the work
"""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from typing import Any

from bench.common import RESULTS, Check, machine, processor_kind, write
from bench.models import measure
from bench.models.apart import apart
from bench.models.catalog import held_out, models
from bench.pages.models import histogram

NAME = "models"
PLACE = RESULTS / f"{NAME}.json"
"""One record for all processors: which models go through depends on none, and each row says where its times are of."""
LEAST = 160
"""Target: models that go through."""
SOURCES = ("torchvision", "timm", "transformers", "written")


def main() -> None:
    """Run what is to be run."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("names", nargs="*", help="beginnings of names; default: what the record lacks")
    options.add_argument("--limit", type=float, default=600, help="seconds of the processor for each model")
    options.add_argument("--most", type=int, help="stop after so many models")
    options.add_argument("--stopped", action="store_true", help="again what did not go through")
    options.add_argument("--held-out", action="store_true", help="the networks that are kept out of the work")
    arguments = options.parse_args()
    rows = recorded()
    for name in wanted(arguments, rows)[: arguments.most]:
        row = measured(name, arguments.limit) | first_try(name, rows)
        rows = recorded() | {name: row}  # another run may have written meanwhile
        save(rows, arguments.limit)
        print(said(name, rows[name]), flush=True)
    print("\n".join(f"{len(found):4d}  {what}: {', '.join(found[:4])}" for what, found in histogram(rows)))


def recorded() -> dict[str, Any]:
    """The rows of the record so far."""
    rows: dict[str, Any] = json.loads(PLACE.read_text())["results"] if PLACE.exists() else {}
    return rows


def wanted(arguments: argparse.Namespace, rows: dict[str, Any]) -> list[str]:
    """Names of the models to run."""
    known = list(held_out() if arguments.held_out else models())
    if arguments.names:
        return [name for begin in arguments.names for name in known if name.startswith(begin)]
    if arguments.stopped:
        return [name for name in known if name in rows and rows[name]["stage"] != "through"]
    return [name for name in known if name not in rows]


def first_try(name: str, rows: dict[str, Any]) -> dict[str, Any]:
    """What stopped a held-out network when it was run for the first time, where it is run again."""
    before = rows.get(name)
    if before is None or name not in held_out():
        return {}
    if "first" in before:
        return {"first": before["first"]}
    return {} if before["stage"] == "through" else {"first": {key: before[key] for key in ("stage", "obstacles")}}


def measured(name: str, limit: float) -> dict[str, Any]:
    """The row of a model, from a process of its own with limits of time and memory."""
    lines, why = apart(lambda: measure.main(name), limit)
    row: dict[str, Any] = next(
        (json.loads(line) for line in reversed(lines) if line.startswith("{")), {"stage": "import", "peak_mib": 0}
    )
    if row["stage"] != "through" and "obstacles" not in row:
        row |= {"obstacles": [why], "crashed": True}
    made = {"processor": processor_kind(machine()["processor"]), "date": datetime.now(UTC).strftime("%Y-%m-%d")}
    return row | made


def said(name: str, row: dict[str, Any]) -> str:
    """A line of a row."""
    seconds = sum(value for key, value in row.items() if key.endswith("_s"))
    if row["stage"] == "through":
        return (
            f"{name}: through, cosine {row['cosine_8']} and {row['cosine_4']}, {seconds:.0f} s, {row['peak_mib']} MiB"
        )
    return f"{name}: {row['stage']}, {seconds:.0f} s: {row['obstacles'][0][:200]} ({len(row['obstacles'])})"


def save(rows: dict[str, Any], limit: float) -> None:
    """Write the record, in the order of the catalog."""
    held = held_out()
    kept = {name: rows[name] for name in models() if name in rows}
    kept |= {name: rows[name] | {"held_out": True} for name in held if name in rows}
    tried = [row for name, row in kept.items() if name not in held]
    through = sum(row["stage"] == "through" for row in tried)
    checks = [Check("models through", through, ">=", LEAST)]
    write(NAME, settings={"limit_s": limit, "threads": 1}, results=kept, checks=checks, path=PLACE, quiet=True)


if __name__ == "__main__":
    main()
