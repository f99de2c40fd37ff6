"""The table of models in docs/models.md, and what stops those that do not go through."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

from bench.common import RESULTS
from bench.markdown import table

RECORD = "models.json"
SOURCES = ("torchvision", "timm", "transformers", "written")
STAGES = ("prepare", "calibrate", "lower", "interpret_8", "run_8")
OPERATOR = re.compile(
    r"^(?P<name>[\w.<> -]+?)(\.default)? in (?P<place>the model's forward|\S+) (?P<why>.*?)(\. At |\. Replace |$)"
)


def blocks() -> dict[str, str]:
    """Name of each block of the page -> its content."""
    document = json.loads((RESULTS / RECORD).read_text())
    rows = {name: row for name, row in document["results"].items() if "held_out" not in row}
    held = {name: row for name, row in document["results"].items() if "held_out" in row}
    where = f"{_processors(document['results'])}, {document['machine']['date']}; bench/models"
    made = {source: models(rows, f"{source}/") for source in SOURCES}
    first = {name: row.get("first", row) for name, row in held.items()}
    made["held"] = f"{summary(first)} at the first try; now {summary(held)}.\n\n{models(held, '')}"
    made |= {"models": f"{summary(rows)} ({where}).\n", "histogram": obstacles(rows | held)}
    return made


def _processors(rows: dict[str, Any]) -> str:
    """The kinds of processors that rows were measured on, most rows first."""
    return " and ".join(kind for kind, _ in Counter(row["processor"] for row in rows.values()).most_common())


def stopped(row: dict[str, Any]) -> str:
    """Where a model stopped, and everything that stopped it."""
    return f"{row['stage']}: " + "; ".join(sorted({what(each) for each in row["obstacles"]}))


def summary(rows: dict[str, Any]) -> str:
    """How many go through."""
    counts = [
        f"{sum(row['stage'] == 'through' for row in found)} of {len(found)} ({source})"
        for source in SOURCES
        if (found := [row for name, row in rows.items() if name.startswith(f"{source}/")])
    ]
    through = sum(row["stage"] == "through" for row in rows.values())
    return f"{through} of {len(rows)} models go through: {', '.join(counts)}"


def models(rows: dict[str, Any], source: str) -> str:
    """The table of one source."""
    heads = (
        "model",
        "",
        "parameters",
        "operators",
        "cosine, 8 bits",
        "4 bits",
        *(s.split("_")[0] for s in STAGES),
        "peak MiB",
    )
    return table(
        heads, (_line(name.removeprefix(source), row) for name, row in rows.items() if name.startswith(source)), left=2
    )


def _line(name: str, row: dict[str, Any]) -> tuple[str, ...]:
    through = row["stage"] == "through"
    said = "through" if through else stopped(row)
    if "first" in row:
        said += f"; at the first try, {stopped(row['first'])}"
    seconds = (f"{row[f'{stage}_s']:.1f}" if f"{stage}_s" in row else "" for stage in STAGES)
    cosines = (f"{row[f'cosine_{bits}']:.3f}" if f"cosine_{bits}" in row else "" for bits in (8, 4))
    size = f"{row['parameters'] / 1e6:.1f} M" if "parameters" in row else ""
    return name, said, size, str(row.get("operators", "")), *cosines, *seconds, str(row["peak_mib"])


def what(obstacle: str) -> str:
    """An obstacle without the place where it stands."""
    found = OPERATOR.match(obstacle)
    if not found:
        return re.sub(r"\s+", " ", obstacle)[:160].replace("|", "/")
    why = re.sub(r"\(s?\d+, [^)]*\)|\[[^\]]*\]|'[^']*'", "...", found["why"])
    return f"`{found['name']}` {why}"[:160].replace("|", "/")


def histogram(rows: dict[str, Any]) -> list[tuple[str, list[str]]]:
    """Each obstacle with the models that it stops, most first."""
    found: dict[str, list[str]] = {}
    for name, row in rows.items():
        for each in dict.fromkeys(what(obstacle) for obstacle in row.get("obstacles", ())):
            found.setdefault(each, []).append(name)
    return sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))


def obstacles(rows: dict[str, Any]) -> str:
    """The histogram as a table."""
    lines = ((each, str(len(names)), ", ".join(names[:3])) for each, names in histogram(rows))
    return table(("what stops a model", "models", "such as"), lines)
