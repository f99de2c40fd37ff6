"""The table of packed files in docs/guide/packed-files.md."""

from __future__ import annotations

import json
from typing import Any

from bench.common import processor_name, records_of
from bench.markdown import table


def blocks() -> dict[str, str]:
    """Name of each block of the page -> its content: a table for each processor that was measured."""
    return {"packing": "\n".join(_measured(json.loads(path.read_text())) for path in records_of("packing"))}


def _measured(document: dict[str, Any]) -> str:
    where = f"{processor_name(document['machine'])}, {document['machine']['date']}; bench/packing"
    heads = (
        "packed to",
        "file, MB",
        "of the whole",
        "delta to 8 bits, MB",
        "upgrade to 8 bits, s",
        "of processor time",
        "`Runtime(path)`, s of processor time",
    )
    made = table(heads, (_line(width, row) for width, row in document["results"].items()))
    busy = document["machine"]["load_average"] / document["machine"]["cores"]
    words = (
        f"ResNet-50 of 8, 4 and 2 bits ({where}). Times are medians; an upgrade is also timed on the wall, "
        f"while {busy:.0f} processes wanted each core."
    )
    return f"{words}\n\n{made}"


def _line(width: str, row: dict[str, object]) -> tuple[str, ...]:
    def seconds(name: str) -> str:
        found = row.get(name)
        return f"{found['median']:.2f}" if isinstance(found, dict) else ""

    def megabytes(name: str) -> str:
        found = row.get(name)
        return f"{found / 1e6:.1f}" if isinstance(found, int) else ""

    title = "nothing: all bits" if "upgrade_s" not in row else f"{width} bits"
    times = (seconds("upgrade_s"), seconds("upgrade_processor_s"), seconds("open_s"))
    return title, megabytes("bytes"), f"{float(str(row['of'])):.3f}", megabytes("delta_bytes"), *times
