"""The cores that this process may use: its affinity, and the processor time that its cgroups allow it.

A container with ``--cpus=1`` on a large host still sees every core in its affinity; only the cgroup says how much time
they give it. ``csrc/cpu/cores.cc`` counts the same for the native engine.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple


class Mount(NamedTuple):
    """A cgroup file system: where it is mounted, and which group its top shows (a container sees its own there)."""

    top: str
    point: str
    unified: bool


def cores() -> int:
    """Cores that this process may use, at least 1; the affinity is read at each call, the cgroups once."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(found, _quota() or found)


def quota_cores(root: str = "") -> int:
    """Whole cores of the cgroups' processor time, of version 1 and 2 and of every group above; 0 if there is no limit.

    Time for one core and a half pays for one thread: two would stand still for a quarter of each period. ``root`` is
    where the files of the system begin; other than "" in tests.
    """
    limits = [limit for mount in _mounts(root) for limit in _limits(root, mount) if limit > 0]
    return max(1, int(min(limits))) if limits else 0


@cache
def _quota() -> int:
    return quota_cores()


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _mounts(root: str) -> Iterator[Mount]:
    """Mounts that may limit processor time, from "id parent device top point options ... - type source options"."""
    for line in _read(f"{root}/proc/self/mountinfo").splitlines():
        left, _, right = line.partition(" - ")
        place, kind = left.split(), right.split()
        if len(place) < 5 or len(kind) < 3:
            continue
        if kind[0] == "cgroup2" or (kind[0] == "cgroup" and "cpu" in kind[2].split(",")):
            yield Mount(place[3], place[4], kind[0] == "cgroup2")


def _group(root: str, *, unified: bool) -> str:
    """This process's group in a hierarchy, from lines "number:controllers:path"; "" where it is in none."""
    for line in _read(f"{root}/proc/self/cgroup").splitlines():
        parts = line.split(":", 2)
        if len(parts) == 3 and (not parts[1] if unified else "cpu" in parts[1].split(",")):
            return parts[2]
    return ""


def _limits(root: str, mount: Mount) -> Iterator[float]:
    """Cores of a group's own limit and of those above it, as far as the mount shows them; 0 where there is none."""
    group = _group(root, unified=mount.unified)
    if mount.top != "/":
        inside = group == mount.top or group.startswith(f"{mount.top}/")
        group = group[len(mount.top) :] if inside else ""
    while True:
        group = "" if group == "/" else group
        yield _limit(f"{root}{mount.point}{group}", unified=mount.unified)
        if not group:
            return
        group = group.rpartition("/")[0]


def _limit(folder: str, *, unified: bool) -> float:
    """Version 2 has "max 100000" or "150000 100000" in one file, version 1 two files, with -1 for no limit."""
    if unified:
        text = _read(f"{folder}/cpu.max").split()
    else:
        text = [*_read(f"{folder}/cpu.cfs_quota_us").split(), *_read(f"{folder}/cpu.cfs_period_us").split()]
    try:
        quota, period = (float(number) for number in text)
    except ValueError:
        return 0.0
    return quota / period if quota > 0 and period > 0 else 0.0
