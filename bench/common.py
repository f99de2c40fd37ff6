"""What the scripts share: the machine, targets, where data is, and one JSON file for each script."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from dqt.arith.files import write_file

RESULTS = Path(__file__).parent / "results"
LIBRARIES = ("dqt", "numpy", "scipy", "torch", "torchvision", "lightning-fabric", "scikit-learn")
ROOM = 400
"""Columns of a line in a record."""
REPORT = "cifar10_ptq_report.json"
"""The results of ``cifar10_ptq`` as the report reads them."""
CIFAR10, RESNET20 = "cifar-10-batches-bin", "cifar10-resnet20.safetensors"


@dataclass(frozen=True)
class Check:
    """A number beside its target."""

    what: str
    value: float
    relation: Literal["<=", ">="]
    target: float

    @property
    def met(self) -> bool:
        """Whether the target is met."""
        return self.value <= self.target if self.relation == "<=" else self.value >= self.target


def machine() -> dict[str, Any]:
    """What ran: processor, cores, how busy it is (ours included), system, versions, and the date (UTC)."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": _memory(),
        "load_average": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: found for name in LIBRARIES if (found := _version(name))},
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }


def processor_name(machine: dict[str, Any]) -> str:
    """The processor of a recorded machine, without its family and its features but for AMX."""
    processor = _plain(machine["processor"])
    return processor.split(" (")[0] + " with AMX" * ("amx_int8" in processor)


def timed_on(machine: dict[str, Any]) -> str:
    """Where and when a time was measured, in a few words."""
    return f"{processor_name(machine)}, {machine['date']}"


def processor_kind(processor: str) -> str:
    """A processor with its family and model, without its features."""
    return re.sub(r"(, (avx|amx)\w*)+$", "", _plain(processor))


def _plain(processor: str) -> str:
    return re.sub(r"\((R|TM)\)", "", processor)


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        return platform.processor() or "unknown"
    facts = dict(
        part for line in cpuinfo.read_text().splitlines() if len(part := line.replace("\t", "").split(": ", 1)) == 2
    )
    name = facts.get("model name", platform.processor() or "unknown")
    if "cpu family" in facts:
        name += f" (family {facts['cpu family']}, model {facts.get('model', '?')})"
    flags = facts.get("flags", "").split()
    return name + "".join(f", {flag}" for flag in ("avx2", "avx512f", "avx512_vnni", "amx_int8") if flag in flags)


def _memory() -> float | None:
    if not hasattr(os, "sysconf"):
        return None
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def write(
    name: str,
    *,
    settings: dict[str, Any],
    results: dict[str, Any],
    checks: Sequence[Check],
    path: Path | None = None,
    quiet: bool = False,
    timed_on: dict[str, Any] | None = None,
) -> bool:
    """Print targets (not if ``quiet``), write the record (to :func:`place_of`, or ``path``); whether all are met.

    ``timed_on``: the machine of the record; default: this one.
    """
    for check in () if quiet else checks:
        mark = "met   " if check.met else "MISSED"
        print(f"{mark} {check.what}: {check.value:.6g} (target {check.relation} {check.target:g})")
    RESULTS.mkdir(exist_ok=True)
    targets = [asdict(check) | {"met": check.met} for check in checks]
    here = timed_on or machine()
    document = {"bench": name, "machine": here, "settings": settings, "targets": targets, "results": results}
    path = path or place_of(name, here)
    write_file(path, rows(document), "\n")
    if not quiet:
        print(f"wrote {path.relative_to(RESULTS.parent.parent)}", flush=True)
    return all(check.met for check in checks)


def place_of(name: str, machine: dict[str, Any]) -> Path:
    """``results/NAME.json``, or ``results/NAME-PROCESSOR.json`` where the former is a record of another processor."""
    path = RESULTS / f"{name}.json"
    if not path.exists():
        return path
    before, now = (processor_kind(each["processor"]) for each in (json.loads(path.read_text())["machine"], machine))
    return path if before == now else RESULTS / f"{name}-{re.sub(r'[^a-z0-9]+', '-', now.lower()).strip('-')}.json"


def records_of(name: str) -> list[Path]:
    """The records of a script, or of a part of one: the first, then those of other processors."""
    first = RESULTS / f"{name}.json"
    return [*([first] if first.exists() else []), *sorted(RESULTS.glob(f"{name}-*.json"))]


def rows(value: Any, indent: int = 0) -> str:
    """JSON with one row a line: a value that fits into ROOM columns, or that nests nothing but lists of numbers."""
    flat = json.dumps(value, ensure_ascii=False)
    if len(flat) + indent <= ROOM or not isinstance(value, dict | list) or _is_row(value):
        return flat
    parts = value.items() if isinstance(value, dict) else [(None, each) for each in value]
    pad = " " * (indent + 1)
    lines = (
        pad + ("" if key is None else f"{json.dumps(key, ensure_ascii=False)}: ") + rows(each, indent + 1)
        for key, each in parts
    )
    first, last = "{}" if isinstance(value, dict) else "[]"
    return first + "\n" + ",\n".join(lines) + "\n" + " " * indent + last


def _is_row(value: dict[str, Any] | list[Any]) -> bool:
    nested = [each for each in (value.values() if isinstance(value, dict) else value) if isinstance(each, dict | list)]
    return all(isinstance(each, list) and not any(isinstance(v, dict | list) for v in each) for each in nested)


def parser(description: str | None, *, data: bool = False) -> argparse.ArgumentParser:
    """A script's arguments; with ``data``, also where the data set and the weights are."""
    made = argparse.ArgumentParser(description=description)
    if data:
        place = os.environ.get("DQT_DATA", "data")
        made.add_argument(
            "--data", type=Path, default=Path(place), help=f"folder that holds {CIFAR10} (default $DQT_DATA)"
        )
        made.add_argument("--weights", type=Path, help=f"float weights of ResNet-20 (default DATA/{RESNET20})")
    return made


def weights_of(arguments: argparse.Namespace) -> Path:
    """The path of the float weights."""
    path: Path = arguments.weights or arguments.data / RESNET20
    return path


def child(module: str, *arguments: str, **environment: str) -> Any:
    """Run ``python -m MODULE ARGUMENTS`` with more environment; the JSON of its last line of output."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env=os.environ | environment, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])
