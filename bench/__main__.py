"""Run every script, those that need a data set only where ``DQT_DATA`` names the folder that holds it."""

from __future__ import annotations

import os
import subprocess
import sys

NATIVE = ("engine", "kernels", "linear", "packing", "serving")
ALONE = ("training_speed", "install", "onnx", *NATIVE)
WITH_DATA = ("cifar10_ptq", "operators", "tiny")


def main() -> int:
    """Every script in a process of its own; 1 if one failed."""
    failed = []
    for name in ALONE + WITH_DATA:
        if name in WITH_DATA and not os.environ.get("DQT_DATA"):
            print(f"== {name}: left out, DQT_DATA does not say where the data set is", flush=True)
            continue
        print(f"== {name}", flush=True)
        if subprocess.run([sys.executable, "-m", f"bench.{name}"], check=False).returncode:
            failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return int(bool(failed))


if __name__ == "__main__":
    raise SystemExit(main())
