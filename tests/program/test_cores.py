"""Cores by cgroup: both definitions, in Python and in C++, on trees of files as systems have them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dqt.program import cores as module
from dqt.program.cores import cores, quota_cores

native = pytest.importorskip("dqt._native")

V2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = (
    "25 18 0:22 / /sys/fs/cgroup ro - tmpfs tmpfs ro,mode=755\n"
    "33 25 0:30 {top} /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
    "34 25 0:31 {top} /sys/fs/cgroup/cpuset rw shared:10 - cgroup cgroup rw,cpuset\n"
)
V1_GROUPS = "5:cpuset:{group}\n4:cpu,cpuacct:{group}\n1:name=systemd:/other\n"


def tree(root: Path, files: dict[str, str]) -> str:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return str(root)


def v2(group: str, **limits: str) -> dict[str, str]:
    """``limits``: text of cpu.max by group, "__" for a slash."""
    files = {"proc/self/mountinfo": V2, "proc/self/cgroup": f"0::{group}\n"}
    return files | {f"sys/fs/cgroup/{name.replace('__', '/')}/cpu.max": text for name, text in limits.items()}


def v1(group: str, top: str = "/", **limits: tuple[int, int]) -> dict[str, str]:
    files = {"proc/self/mountinfo": V1.format(top=top), "proc/self/cgroup": V1_GROUPS.format(group=group)}
    for name, (quota, period) in limits.items():
        folder = f"sys/fs/cgroup/cpu,cpuacct/{name.replace('__', '/').strip('/')}"
        files |= {f"{folder}/cpu.cfs_quota_us": f"{quota}\n", f"{folder}/cpu.cfs_period_us": f"{period}\n"}
    return files


TREES: dict[str, tuple[dict[str, str], int]] = {
    "nothing": ({}, 0),
    "no mount": ({"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/cpu.max": "100000 100000"}, 0),
    "v2, no limit": (v2("/a", a="max 100000\n"), 0),
    "v2, --cpus=1": (v2("/", **{"": "100000 100000\n"}), 1),
    "v2, one and a half": (v2("/a", a="150000 100000\n"), 1),
    "v2, half": (v2("/a", a="50000 100000\n"), 1),
    "v2, a short period": (v2("/a", a="15000 5000\n"), 3),
    "v2, the parent's is smaller": (v2("/a/b/c", a="200000 100000", a__b="max 100000", a__b__c="400000 100000"), 2),
    "v2, its own is smaller": (v2("/a/b", a="800000 100000", a__b="300000 100000"), 3),
    "v2, outside of what is mounted": (v2("/../../a", a="100000 100000"), 0),
    "v2, not a number": (v2("/a", a="many cores"), 0),
    "v1, no limit": (v1("/a", a=(-1, 100000)), 0),
    "v1, --cpus=2.5": (v1("/a", a=(250000, 100000)), 2),
    "v1, the parent's is smaller": (v1("/a/b", a=(100000, 100000), a__b=(400000, 100000)), 1),
    "v1, a container sees its own group at the top": (v1("/docker/x", "/docker/x", __=(100000, 50000)), 2),
    "v1, another group's name begins so": (v1("/docker/xy", "/docker/x", __=(300000, 100000), y=(100000, 100000)), 3),
    "v1, a period of zero": (v1("/a", a=(100000, 0)), 0),
    "v1 and v2": (
        v1("/a", a=(300000, 100000))
        | {"proc/self/mountinfo": V1.format(top="/") + V2, "proc/self/cgroup": V1_GROUPS.format(group="/a") + "0::/a\n"}
        | {"sys/fs/cgroup/a/cpu.max": "200000 100000"},
        2,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TREES)
def test_the_quota_of_a_tree(name: str, tmp_path: Path) -> None:
    files, expected = TREES[name]
    root = tree(tmp_path, files)
    assert quota_cores(root) == expected
    assert native.quota_cores(root) == expected


def test_the_smaller_of_affinity_and_quota_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    for quota, expected in ((0, 16), (3, 3), (64, 16)):
        monkeypatch.setattr(module, "_quota", lambda quota=quota: quota)
        assert cores() == expected


def test_both_definitions_count_this_process() -> None:
    assert native.cores() == cores()
