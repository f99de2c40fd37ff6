"""The resident memory of this process, as Linux counts it."""

from __future__ import annotations

import re
from pathlib import Path

PROCESS = Path("/proc/self")


def status(field: str) -> int:
    """Bytes that the system says of this process: ``VmRSS`` is what it has, ``VmHWM`` the most that it had."""
    found = re.search(rf"^{field}:\s+(\d+) kB", (PROCESS / "status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) << 10


def forget_peak() -> None:
    """The peak is what the process has now."""
    (PROCESS / "clear_refs").write_text("5")
