"""What each layer loses at each width, measured; kept as a file, it serves any number of budgets."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dqt.arith.files import write_file
from dqt.arith.plan import Plan, PlanError, uniform
from dqt.nn.net import Net
from dqt.program.task import GivenTask
from dqt.train.measure import measure

FORMAT, VERSION = "dqt-sensitivity", 1


@dataclass(frozen=True)
class Sensitivity:
    """What each layer loses at each width while all others stay at one width; serves any number of budgets.

    Attributes:
        layers, widths: names in order; ascending widths.
        around: the width of all others (the first and last: ``edge_width``).
        increase: ``[layers][widths]``, the loss above ``base``; below 0 where the layer gains.
        base: mean loss of the uniform plan ``around``.
        objective: the loss: that of the task (cross entropy to labels), or divergence (KL) from the master's output.
        samples: how many it was measured on.
    """

    layers: tuple[str, ...]
    widths: tuple[int, ...]
    around: int
    increase: tuple[tuple[float, ...], ...]
    base: float
    objective: str
    samples: int

    def __post_init__(self) -> None:
        shape = {len(row) for row in self.increase}
        if len(self.increase) != len(self.layers) or shape != {len(self.widths)}:
            raise PlanError(f"a sensitivity needs {len(self.layers)} rows of {len(self.widths)} numbers")
        if not all(math.isfinite(value) for row in self.increase for value in row):
            raise PlanError("a sensitivity holds a number that is not finite: measure it again")

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write as JSON.

        Raises:
            OSError: it cannot be written, see :func:`dqt.arith.files.write_file`.
        """
        write_file(path, json.dumps({"format": FORMAT, "version": VERSION, **asdict(self)}, indent=1), "\n")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Sensitivity:
        """Read what :meth:`save` wrote.

        Raises:
            PlanError: not such a file. OSError: it cannot be read.
        """
        try:
            data = json.loads(Path(path).read_bytes())
            if (data.pop("format"), data.pop("version")) != (FORMAT, VERSION):
                raise PlanError(f"{path}: not a sensitivity of version {VERSION}")
            increase = tuple(tuple(float(value) for value in row) for row in data.pop("increase"))
            layers, widths = (tuple(data.pop(name)) for name in ("layers", "widths"))
            return cls(layers=layers, widths=widths, increase=increase, **data)
        except (KeyError, TypeError, AttributeError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise PlanError(f"{path}: not a sensitivity file: {error}") from None


def sensitivity(
    net: Net,
    batches: Iterable[Any],
    *,
    around: int | None = None,
    task: GivenTask | None = None,
    progress: bool = False,
) -> Sensitivity:
    """Measure every layer at every width while all others are at ``around`` (the master by default).

    Other arguments and errors as :func:`dqt.train.search.search`.
    """
    space = net.space
    reference = space.master if around is None else around
    base = uniform(space, reference)
    plans = [_changed(base, name, b) for name in space.names for b in space.widths]
    mean, kind, samples = measure(net, batches, [base, *plans], task=task, progress=progress)
    rows = (mean[1:] - mean[0]).reshape(len(space.names), len(space.widths)).tolist()
    return Sensitivity(space.names, space.widths, reference, tuple(map(tuple, rows)), float(mean[0]), kind, samples)


def _changed(base: Plan, name: str, b: int) -> Plan:
    return Plan.of({**base, name: b})
