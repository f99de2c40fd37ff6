"""Energy that processors say they have used, where the system shows their counters (Linux powercap: Intel and AMD)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")


@dataclass(frozen=True)
class Counter:
    """The counter of one processor package; it starts again at 0 after ``range_uj`` microjoules."""

    path: Path
    range_uj: int

    def read(self) -> int:
        """Microjoules."""
        return int((self.path / "energy_uj").read_text())

    def since(self, before: int) -> int:
        """Microjoules used after ``before`` was read; a counter that starts again twice meanwhile is not noticed."""
        return (self.read() - before) % (self.range_uj + 1)


def counters(root: Path = POWERCAP) -> list[Counter]:
    """One for each package, or none where the machine shows none or only an administrator may read them."""
    found = []
    for zone in sorted(root.glob("*-rapl:*")):
        try:
            counter = Counter(zone, int((zone / "max_energy_range_uj").read_text()))
            if (zone / "name").read_text().startswith("package"):
                counter.read()
                found.append(counter)
        except (OSError, ValueError):
            continue
    return found


def millijoules(call: Callable[[], object], seconds: float, packages: list[Counter]) -> float | None:
    """Of one call: all that the packages use while it is repeated for so long, what is idle included; None without
    counters.
    """
    if not packages:
        return None
    calls, end = 0, time.perf_counter() + seconds
    before = [each.read() for each in packages]
    while calls == 0 or time.perf_counter() < end:
        call()
        calls += 1
    return sum(each.since(start) for each, start in zip(packages, before, strict=True)) / 1e3 / calls
