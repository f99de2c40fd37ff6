"""One build of the library, timed on request: a line of JSON in, the seconds out. Uses public names alone.

``python -m bench.builds`` starts two of these, each with the interpreter of another build.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

import dqt


class Worker:
    """What has been loaded so far."""

    def __init__(self, folder: Path, isa: str | None) -> None:
        self.folder, self.isa = folder, isa
        self.runtimes: dict[str, dqt.Runtime] = {}
        self.nets: dict[str, Any] = {}

    def run(self, network: str, width: int, batch: int, times: int) -> float:
        """Seconds of processor time of the fastest of some runs."""
        if network not in self.runtimes:
            self.runtimes[network] = dqt.Runtime(self.folder / f"{network}.dqt", threads=1, isa=self.isa)
        runtime = self.runtimes[network]
        side = 32 if network == "resnet20" else 224
        x = np.random.default_rng(0).normal(size=(batch, 3, side, side)).astype(np.float32)
        return min(_seconds(lambda: runtime(x, width)) for _ in range(times))

    def load(self, network: str) -> float:
        """Seconds from a path to the first answer at 8 bits."""
        x = np.zeros((1, 3, 224, 224), dtype=np.float32)
        return _seconds(lambda: dqt.Runtime(self.folder / f"{network}.dqt", threads=1, isa=self.isa)(x, 8))

    def open(self, network: str) -> float:
        """Seconds from a path to a runtime."""
        return _seconds(lambda: dqt.Runtime(self.folder / f"{network}.dqt", threads=1, isa=self.isa))

    def step(self, width: int) -> float:
        """Seconds of a training step of ResNet-20, batch 64."""
        import torch

        net, optimizer, x, labels = self._training()
        net.train()

        def step() -> None:
            optimizer.zero_grad()
            loss: Any = torch.nn.functional.cross_entropy(net(x, width), labels)
            loss.backward()
            optimizer.step()

        return _seconds(step)

    def calibrate(self) -> float:
        """Seconds of a calibration of ResNet-20 with four batches of 64."""
        net, _, x, _ = self._training()
        net.eval()
        return _seconds(lambda: dqt.calibrate(net, [x] * 4))

    def _training(self) -> Any:
        import torch

        from dqt.train.models import resnet20

        if "training" not in self.nets:
            torch.set_num_threads(1)
            torch.manual_seed(0)
            x = torch.randn(64, 3, 32, 32)
            net = dqt.calibrate(dqt.prepare(resnet20().eval(), x[:2], dqt.Config(widths=(2, 4, 8))).eval(), [x])
            optimizer = torch.optim.SGD(net.parameters(), lr=1e-4)
            self.nets["training"] = net, optimizer, x, torch.randint(10, (64,))
        return self.nets["training"]


def _seconds(work: Any) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    """Answer until the input ends."""
    worker = Worker(Path(sys.argv[1]), sys.argv[2] or None)
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(getattr(worker, asked.pop("what"))(**asked)), flush=True)


if __name__ == "__main__":
    main()
