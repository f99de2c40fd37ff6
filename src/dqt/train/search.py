"""``dqt.search``: static mixed precision. What each layer loses at each width, then an exact integer program.

The model is additive: the loss of a plan is taken as the sum of what its layers lose alone, all others at one width.
That can be wrong where many layers differ from that width, so the search measures around the master and around the best
uniform width that fits, solves both, and takes the plan that measures best of these and of the uniform ones.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from torch import Tensor

from dqt.arith.plan import Plan, Space, uniform
from dqt.data.errors import DataError
from dqt.nn.guards import calibrated, outside_inference_mode
from dqt.nn.net import Net
from dqt.program.task import GivenTask
from dqt.train.measure import measure
from dqt.train.sensitivity import Sensitivity, sensitivity
from dqt.train.solve import Budget, budgets, fits, solve, solve_within

__all__ = ["Sensitivity", "budgets", "measure", "search", "sensitivity", "solve"]

logger = logging.getLogger("dqt.train")


@outside_inference_mode
def search(
    net: Net,
    batches: Iterable[Any],
    *,
    bitops: float | None = None,
    size: float | None = None,
    edges: bool = False,
    task: GivenTask | None = None,
    progress: bool = False,
) -> Plan:
    """The static plan that loses least on ``batches`` under a budget; never more there than a uniform width that fits.

    Args:
        net: calibrated or trained.
        batches: inputs, or pairs (inputs, targets). With targets the loss is the task's (for classification cross
            entropy with the labels); without, the divergence from the master's output. Give inputs that the network
            was trained on without labels: of these it is too sure, and by cross entropy a plan gains there that only
            makes it less so.
        bitops: at most 1: a fraction of the BitOPs of the master; above: a count.
        size: at most 1: a fraction of the bytes of the master weights; above: bytes that inference reads.
        edges: search the first and last layer, too; they stay at ``edge_width`` otherwise.
        task: what the network is for, see :class:`dqt.Task`; default: classification.
        progress: show a progress bar.

    Raises:
        DataError: no data, or targets that do not fit. InputError: inputs that do not fit. TaskError: an unknown task.
        CalibrationError: the ranges come from the example input alone.
        PlanError: no budget, or one that no plan meets: says the least that one can.
    """
    space = calibrated(net, "dqt.search").space
    limits = budgets(space, bitops=bitops, size=size, edges=edges)
    if not isinstance(batches, Iterable):
        raise DataError(f"batches of type {type(batches).__name__}: pass a series of inputs, or of (inputs, targets)")
    data = batches if isinstance(batches, Tensor) else list(batches)
    plans = {b: uniform(space, b) for b in space.widths}
    fitting = [b for b in space.widths if fits(plans[b], limits)]
    around = [space.master]
    if fitting:
        near = fitting[int(measure(net, data, [plans[b] for b in fitting], task=task)[0].argmin())]
        around += [near] if near != space.master else []
    measured = [sensitivity(net, data, around=b, task=task, progress=progress) for b in around]
    solved = [solve_within(each, space, limits, edges) for each in measured]
    return _best(net, data, [plans[b] for b in fitting] + _flat(space, limits, edges), solved, task)


def _flat(space: Space, limits: tuple[Budget, ...], edges: bool) -> list[Plan]:
    """Where the first and last layer are searched, too: one width for all layers, those included."""
    flat = [Plan.of(dict.fromkeys(space.names, b)) for b in space.widths] if edges else []
    return [plan for plan in flat if fits(plan, limits)]


def _best(net: Net, data: Iterable[Any], plain: list[Plan], solved: list[Plan], task: GivenTask | None = None) -> Plan:
    """The plan that measures best; of equal ones a plain one, of those the narrowest, and a word of it in the log."""
    losses = measure(net, data, plain + solved, task=task)[0]
    best = int(losses.argmin())
    if best < len(plain) and plain[best] not in solved:
        logger.info(
            "a uniform width measures better than the solved plans: loss %.4g, theirs %.4g; it is the plan",
            losses[best],
            losses[len(plain) :].min(),
        )
    return (plain + solved)[best]
