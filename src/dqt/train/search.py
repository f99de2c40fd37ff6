"""``dqt.search``: static mixed precision. What each layer loses at each width, then an exact integer program.

The model is additive: the loss of a plan is taken as the sum of what its layers lose alone, all others at one width.
That can be wrong where many layers differ from that width, so the search measures around the master and around the best
uniform width that fits, solves both, and takes the plan that measures best of these and of the uniform ones.
"""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from dqt.arith.cost import full_bitops
from dqt.arith.files import write_file
from dqt.arith.plan import Layer, Plan, PlanError, Space, uniform
from dqt.data.errors import DataError
from dqt.nn.guards import outside_inference_mode, prepared
from dqt.nn.modes import evaluating
from dqt.nn.net import Net
from dqt.train.labels import labels_like

logger = logging.getLogger("dqt.train")

FORMAT, VERSION = "dqt-sensitivity", 1
SCALE = 1e4
"""The largest loss as the solver sees it: its absolute gap of 1e-6 is then nothing."""
Objective = Literal["cross entropy", "divergence"]


@dataclass(frozen=True)
class Sensitivity:
    """What each layer loses at each width while all others stay at one width; serves any number of budgets.

    Attributes:
        layers, widths: names in order; ascending widths.
        around: the width of all others (the first and last: ``edge_width``).
        increase: ``[layers][widths]``, the loss above ``base``; below 0 where the layer gains.
        base: mean loss of the uniform plan ``around``.
        objective: the loss: cross entropy to labels, or divergence (KL) from the master's output.
        samples: how many it was measured on.
    """

    layers: tuple[str, ...]
    widths: tuple[int, ...]
    around: int
    increase: tuple[tuple[float, ...], ...]
    base: float
    objective: Objective
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


@outside_inference_mode
def search(
    net: Net,
    batches: Iterable[Any],
    *,
    bitops: float | None = None,
    size: float | None = None,
    edges: bool = False,
    progress: bool = False,
) -> Plan:
    """The static plan that loses least on ``batches`` under a budget; never more there than a uniform width that fits.

    Args:
        net: calibrated or trained.
        batches: inputs, or pairs (inputs, labels). With labels the loss is cross entropy; without, the divergence
            from the master's output. Give inputs that the network was trained on without labels: of these it is too
            sure, and by cross entropy a plan gains there that only makes it less so.
        bitops: at most 1: a fraction of the BitOPs of the master; above: a count.
        size: at most 1: a fraction of the bytes of the master weights; above: bytes that inference reads.
        edges: search the first and last layer, too; they stay at ``edge_width`` otherwise.
        progress: show a progress bar.

    Raises:
        DataError: no data, or labels that do not fit. InputError: inputs that do not fit.
        PlanError: no budget, or one that no plan meets: says the least that one can.
    """
    space = prepared(net, "dqt.search").space
    limits = budgets(space, bitops=bitops, size=size, edges=edges)
    data = batches if isinstance(batches, Tensor) else list(batches)
    plans = {b: uniform(space, b) for b in space.widths}
    fitting = [b for b in space.widths if _fits(plans[b], limits)]
    around = [space.master]
    if fitting:
        near = fitting[int(measure(net, data, [plans[b] for b in fitting])[0].argmin())]
        around += [near] if near != space.master else []
    measured = [sensitivity(net, data, around=b, progress=progress) for b in around]
    solved = [_solve(each, space, limits, edges) for each in measured]
    return _best(net, data, [plans[b] for b in fitting] + _flat(space, limits, edges), solved)


def _fits(plan: Plan, limits: tuple[Budget, ...]) -> bool:
    return all(row.of([pair[0] for pair in plan.values()]) <= row.limit for row in limits)


def _flat(space: Space, limits: tuple[Budget, ...], edges: bool) -> list[Plan]:
    """Where the first and last layer are searched, too: one width for all layers, those included."""
    flat = [Plan.of(dict.fromkeys(space.names, b)) for b in space.widths] if edges else []
    return [plan for plan in flat if _fits(plan, limits)]


def _best(net: Net, data: Iterable[Any], plain: list[Plan], solved: list[Plan]) -> Plan:
    """The plan that measures best; of equal ones a plain one, of those the narrowest, and a word of it in the log."""
    losses = measure(net, data, plain + solved)[0]
    best = int(losses.argmin())
    if best < len(plain) and plain[best] not in solved:
        logger.info(
            "a uniform width measures better than the solved plans: loss %.4g, theirs %.4g; it is the plan",
            losses[best],
            losses[len(plain) :].min(),
        )
    return (plain + solved)[best]


# measuring


def sensitivity(net: Net, batches: Iterable[Any], *, around: int | None = None, progress: bool = False) -> Sensitivity:
    """Measure every layer at every width while all others are at ``around`` (the master by default).

    Other arguments and errors as :func:`search`.
    """
    space = net.space
    reference = space.master if around is None else around
    base = uniform(space, reference)
    plans = [_changed(base, name, b) for name in space.names for b in space.widths]
    mean, kind, samples = measure(net, batches, [base, *plans], progress=progress)
    rows = (mean[1:] - mean[0]).reshape(len(space.names), len(space.widths)).tolist()
    return Sensitivity(space.names, space.widths, reference, tuple(map(tuple, rows)), float(mean[0]), kind, samples)


@torch.no_grad()
def measure(
    net: Net, batches: Iterable[Any], plans: Sequence[Plan], *, progress: bool = False
) -> tuple[npt.NDArray[np.float64], Objective, int]:
    """The mean loss of each plan in evaluation mode, which loss it is, and of how many samples.

    ``net`` is as it was afterwards. Arguments and errors as :func:`search`.
    """
    sums = np.zeros(len(plans))
    kinds: set[Objective] = set()
    samples = 0
    with evaluating(net), _bar(progress, _count(batches, len(plans))) as advance:
        for x, labels in _batches(net, batches):
            losses, kind = _losses(net, x, labels, plans, advance)
            sums += losses
            samples += len(x)
            kinds.add(kind)
    if not samples:
        raise DataError("no data: measuring sensitivities needs at least one batch (a few hundred samples)")
    if len(kinds) != 1:
        raise DataError("some batches have labels and some have none: give labels for all or for none")
    return sums / samples, kinds.pop(), samples


def _changed(base: Plan, name: str, b: int) -> Plan:
    return Plan.of({**base, name: b})


def _losses(
    net: Net, x: Tensor, labels: Tensor | None, plans: Sequence[Plan], advance: Callable[[], object]
) -> tuple[npt.NDArray[np.float64], Objective]:
    """The sum of the loss over the batch for each plan; equal plans run once."""
    master = net.tensor(x)
    if master.dim() != 2:
        raise DataError(f"an output of shape {list(master.shape)}: the search compares class scores, [N, classes]")
    if labels is not None:
        labels = labels_like(master, labels)
    found = {uniform(net.space, net.space.master): _loss(master, master, labels)}
    for plan in plans:
        if plan not in found:
            found[plan] = _loss(net.tensor(x, plan), master, labels)
        advance()
    return np.array([found[plan] for plan in plans]), "divergence" if labels is None else "cross entropy"


def _loss(logits: Tensor, master: Tensor, labels: Tensor | None) -> float:
    scores = logits.double()
    if labels is not None:
        return float(F.cross_entropy(scores, labels, reduction="sum"))
    target = F.log_softmax(master.double(), dim=1)
    return float(F.kl_div(F.log_softmax(scores, dim=1), target, reduction="sum", log_target=True))


def _batches(net: Net, batches: Iterable[Any]) -> Iterator[tuple[Tensor, Tensor | None]]:
    device = next(net.parameters()).device
    for batch in [batches] if isinstance(batches, Tensor) else batches:
        pair = batch if isinstance(batch, tuple | list) else (batch, None)
        if len(pair) != 2:
            raise DataError(f"a batch of {len(pair)} items: pass inputs, or a pair (inputs, labels)")
        x, labels = pair
        net.check_input(x)
        if not bool(torch.isfinite(x).all()):
            raise DataError("a batch contains NaN or infinity: clean the data first")
        yield x.to(device), None if labels is None else torch.as_tensor(labels).to(device)


def _count(batches: Iterable[Any], plans: int) -> int | None:
    if isinstance(batches, Tensor):
        return plans
    return len(batches) * plans if isinstance(batches, Sized) else None


@contextmanager
def _bar(show: bool, total: int | None) -> Iterator[Callable[[], object]]:
    if not show:
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import Progress

    where = Console(stderr=True)
    with Progress(console=where, transient=True, disable=not where.is_terminal) as shown:
        task = shown.add_task("measuring layers", total=total)
        yield lambda: shown.advance(task)


# solving


@dataclass(frozen=True)
class Budget:
    """One row of the program: the sum over layers of ``unit * width ** power`` is at most ``limit``."""

    what: str
    units: tuple[int, ...]
    power: int
    limit: int

    def of(self, widths: Sequence[int]) -> int:
        """What a choice of widths costs."""
        return sum(unit * b**self.power for unit, b in zip(self.units, widths, strict=True))


def solve(
    measured: Sensitivity, space: Space, *, bitops: float | None = None, size: float | None = None, edges: bool = False
) -> Plan:
    """The plan of least summed increase under the budgets, exact. Arguments as :func:`search`.

    Raises:
        PlanError: no budget, one that no plan meets, or a sensitivity of another network.
    """
    return _solve(measured, space, budgets(space, bitops=bitops, size=size, edges=edges), edges)


def budgets(space: Space, *, bitops: float | None, size: float | None, edges: bool) -> tuple[Budget, ...]:
    """The budgets of :func:`search` as exact integer limits.

    Raises:
        PlanError: none is given, it is not a positive number, or no plan meets it.
    """
    rows: list[Budget] = []
    if bitops is not None:
        limit = _limit("bitops", bitops, full_bitops(space))
        rows.append(Budget("BitOPs", tuple(layer.macs for layer in space.layers), 2, limit))
    if size is not None:
        limit = 8 * _limit("size", size, sum(layer.weights for layer in space.layers))
        rows.append(Budget("bits of weights", tuple(layer.weights for layer in space.layers), 1, limit))
    if not rows:
        raise PlanError("no budget: give bitops=0.25, a fraction of the master's (or a count), or size=")
    least = [_options(space, layer, edges)[0] for layer in space.layers]
    for row in rows:
        if row.of(least) > row.limit:
            full = full_bitops(space) if row.power == 2 else 8 * sum(row.units)
            raise PlanError(
                f"a budget of {row.limit:,} {row.what}: the least that a plan can take is {row.of(least):,} "
                f"({row.of(least) / full:.4f} of the master's); raise the budget"
                + ("" if edges else ", or search the first and last layer, too (edges)")
            )
    return tuple(rows)


def _limit(name: str, value: float, full: int) -> int:
    if not math.isfinite(value) or value <= 0:
        raise PlanError(f"{name} {value!r}: need a fraction in (0, 1] or a count above 1")
    if value > 1:
        return math.floor(value)
    nearest = round(value * full)  # a share that is a plan's own allows that plan
    return nearest if nearest / full <= value else nearest - 1


def _options(space: Space, layer: Layer, edges: bool) -> tuple[int, ...]:
    return (space.edge_width,) if layer.edge and not edges else space.widths


def _solve(measured: Sensitivity, space: Space, limits: tuple[Budget, ...], edges: bool) -> Plan:
    if measured.layers != space.names or measured.widths != space.widths:
        raise PlanError("the sensitivity was measured on another network: its layers or widths differ")
    options = [
        (i, b) for i, layer in enumerate(space.layers) for b in _options(space, layer, edges)
    ]  # one binary unknown for each
    column = {b: k for k, b in enumerate(space.widths)}
    loss = np.array([measured.increase[i][column[b]] for i, b in options])
    cuts: list[npt.NDArray[np.float64]] = []
    while True:
        chosen = _milp(loss, options, limits, len(space.layers), cuts)
        widths = [options[k][1] for k in np.flatnonzero(chosen)]
        if all(row.of(widths) <= row.limit for row in limits):
            return Plan.of(dict(zip(space.names, widths, strict=True)))
        cuts.append(chosen)  # within the solver's tolerance, but not within the budget: exclude this one, go on


def _milp(
    loss: npt.NDArray[np.float64],
    options: Sequence[tuple[int, int]],
    limits: tuple[Budget, ...],
    layers: int,
    cuts: Sequence[npt.NDArray[np.float64]],
) -> npt.NDArray[np.float64]:
    """One width for each layer, least loss within the limits: 0 or 1 for each option."""
    from scipy.optimize import Bounds, LinearConstraint, milp

    owner = np.array([i for i, _ in options])
    one = (owner[None, :] == np.arange(layers)[:, None]).astype(np.float64)
    rows = [LinearConstraint(one, 1, 1)]
    for row in limits:
        weights = np.array([row.units[i] * b**row.power / max(row.limit, 1) for i, b in options])
        rows.append(LinearConstraint(weights[None, :], -np.inf, 1))
    rows += [LinearConstraint(cut[None, :], -np.inf, layers - 1) for cut in cuts]
    scale = SCALE / max(float(np.abs(loss).max()), 1e-30)
    found = milp(
        loss * scale, integrality=np.ones(len(loss)), bounds=Bounds(0, 1), constraints=rows, options={"mip_rel_gap": 0}
    )
    if found.x is None:
        raise PlanError(f"no plan meets the budgets together ({found.message}): raise one of them")
    result: npt.NDArray[np.float64] = np.rint(found.x)
    return result
