"""Calls a function in several processes at once, which find in their environment what torchrun gives its own.

One process imports what the function needs and forks the others: each would import torch for seconds, and so would
torchrun itself.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def together(function: Callable[..., None], *calls: list[Any], processes: int = 2) -> None:
    """``function(*call)`` for each call in turn, each in ``processes`` new ones.

    Args:
        function: of a module of these tests.
        calls: plain JSON values.
    """
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT))), "OMP_NUM_THREADS": "1"}
    asked = [function.__module__, function.__name__, str(processes), json.dumps(calls)]
    done = subprocess.run(
        [sys.executable, "-m", __name__, *asked], capture_output=True, text=True, env=environment, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _as_rank(rank: int, processes: int, port: int, function: Callable[..., None], call: list[Any]) -> None:
    for name in ("RANK", "LOCAL_RANK"):
        os.environ[name] = str(rank)
    for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"):
        os.environ[name] = str(processes)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), TORCHELASTIC_RUN_ID="together")
    function(*call)


def _main(module: str, name: str, processes: str, calls: str) -> int:
    function, count = getattr(import_module(module), name), int(processes)
    context = multiprocessing.get_context("fork")
    for call in json.loads(calls):
        port = _free_port()
        ranks = [
            context.Process(target=_as_rank, args=(rank, count, port, function, call), daemon=True)
            for rank in range(count)
        ]
        for each in ranks:
            each.start()
        for each in ranks:
            each.join()
        if any(each.exitcode for each in ranks):
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
