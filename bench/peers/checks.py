"""What the rows are judged by, by kind of processor."""

from __future__ import annotations

from typing import Any

from bench.common import Check

NARROW = ("8", "6", "4", "3", "2")
VNNI = ("avx512amx", "avx512vnni", "avxvnni")
TEXT = ("vit_small", "minilm")
FASTEST = {
    "avx2": {"resnet18": 1.0, "resnet50": 1.0, "resnet20": 1.0, "mobilenet_v2": 0.95, "efficientnet_lite0": 0.95},
    "avx512vnni": {"resnet18": 0.94, "resnet50": 0.94, "resnet20": 0.94, "mobilenet_v2": 0.8},
}
"""Kernel set, with VNNI or without, and network -> time at 8 bits over the fastest peer's, at most."""
TRANSFORMERS = 0.9
FEWER = {
    "avx2": {"resnet50": {"6": 0.75, "4": 0.6, "2": 0.45}, "vit_small": {"4": 0.75}, "minilm": {"4": 0.75}},
    "avx512vnni": {"resnet50": {"4": 0.87, "2": 0.7}, "vit_small": {"4": 0.9}, "minilm": {"4": 0.9}},
}
"""The same -> bits -> time over that at 8 bits, at most."""
PRODUCTS = {"8": 0.9, "4": 0.8, "2": 0.6}
PEAK, LOAD = 0.8, 0.5


def checks(results: dict[str, dict[str, Any]]) -> list[Check]:
    """Every target of the rows that are there."""
    made: list[Check] = []
    for key, row in results["times"].items():
        made += _times(key, row)
    for name, row in results["memory"].items():
        peers = [value for engine, value in row["bytes"].items() if engine != "dqt"]
        if peers:
            what = f"{name}, peak resident memory of a first run over the leanest peer's"
            made.append(Check(what, round(row["bytes"]["dqt"] / min(peers), 4), "<=", PEAK))
    for name, row in results["load"].items():
        over = [each["median"] for engine, each in row["over"].items() if engine != "dqt"]
        if over:
            made.append(Check(f"{name}, from file to first answer over the fastest peer", max(over), "<=", LOAD))
    for row in results["products"].values():
        made += _products(row)
    return made


def fastest_over(row: dict[str, Any]) -> float | None:
    """Time at 8 bits over the fastest peer's: medians over rounds."""
    peers = [each["median"] for name, each in row["of_8"].items() if not name.isdecimal()]
    return round(1 / min(peers), 4) if peers else None


def _times(key: str, row: dict[str, Any]) -> list[Check]:
    name, batch = key.split()
    kind = "avx512vnni" if row["isa"] in VNNI else "avx2"
    most = TRANSFORMERS if name in TEXT else FASTEST[kind].get(name)
    over, made = fastest_over(row), []
    if over is not None and most is not None:
        made.append(Check(f"{name}, batch {batch}, time at 8 bits over the fastest peer's", over, "<=", most))
    for bits, least in FEWER[kind].get(name, {}).items():
        what = f"{name}, batch {batch}, time at {bits} bits over that at 8"
        made.append(Check(what, row["of_8"][bits]["median"], "<=", least))
    return made


def _products(row: dict[str, Any]) -> list[Check]:
    made = []
    for bits, most in PRODUCTS.items():
        over = [each["median"] for name, each in row[bits]["over"].items() if not name.startswith("dqt")]
        if over:
            what = f"one row by 4096x4096 at {bits} bits, time over the faster MatMulNBits"
            made.append(Check(what, max(over), "<=", most))
    return made
