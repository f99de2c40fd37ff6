"""The objective of dynamic quantization training, whole, for ``fit`` and for loops of the user's own.

``J = J_task(own) + alpha * sum_b J_task^(b) + beta * J_cost`` (arXiv 2508.09176): ``own`` are the widths that the
controller chooses for each sample, or the master's where there is none; ``b`` runs over fixed plans; ``J_cost``
pulls the expected BitOPs to a target.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from dqt.arith.cost import controller_bitops, full_bitops
from dqt.arith.errors import InputError
from dqt.arith.margin import chosen_output
from dqt.arith.plan import AUTO, Plan, Space
from dqt.nn.guards import prepared
from dqt.nn.net import Net
from dqt.nn.run import Late
from dqt.program.task import GivenTask, Task
from dqt.train.across import one_batch
from dqt.train.answers import answer, named, shapes_of
from dqt.train.losses import Loss, check_recipe, pass_loss
from dqt.train.recipe import Recipe, RecipeError, given_recipe
from dqt.train.seeds import generator, gumbel
from dqt.train.structures import count, detached, device_of, moved
from dqt.train.targets import targets_for, task_of_net

MIXED = "mixed"


@dataclass(frozen=True, eq=False)
class Objective:
    """One step's objective.

    Attributes:
        loss: J, 0-d with gradient (detached where ``backward`` was given).
        losses: of each pass (cross entropy, or the loss of the task), detached: ``"8"``, ``"2"``, ..., ``"mixed"``
            (widths drawn by layer), ``"auto"`` (the controller's).
        share: mean BitOPs of the choice as a fraction of the master's, detached; None without a controller.
        widths: what the controller chose, int64 ``[N, chosen layers]``, or None.
    """

    loss: Tensor
    losses: dict[str, Tensor]
    share: Tensor | None = None
    widths: Tensor | None = None


@dataclass(frozen=True)
class Pass:
    """One pass through the network: its label, its plan (None: the controller's), its weight in J."""

    label: str
    plan: int | Plan | None
    weight: float


def objective(
    net: Net,
    x: Any,
    y: Any,
    recipe: Recipe | None = None,
    *,
    task: GivenTask | None = None,
    step: int = 0,
    total_steps: int = 1,
    rank: int = 0,
    backward: Callable[[Tensor], object] | None = None,
    teacher: Any = None,
    processes: bool = False,
) -> Objective:
    """The objective on one batch. Random widths and Gumbel noise are functions of (seed, step, rank).

    The master's pass runs once: it is a term of its own and, detached, what the other passes learn from.

    Args:
        x: float ``[N, ...]``, float32 under ``torch.autocast``, too: it is quantized before products take less. A dict
            or tuple of inputs, where the network takes several.
        y: targets of the task; of classification labels, integers ``[N]`` or ``[N, 1]``, classes from 0.
        task: what the network is for, see :class:`dqt.Task`; default: classification.
        step: place in training, of ``total_steps``, for the draws and the temperature.
        teacher: answers that every pass learns from, such as a float network's logits ``[N, classes]``; None: the
            master's own.
        backward: called with each term as soon as it is known, after which its graph is freed: the memory of one
            pass instead of all. ``torch.Tensor.backward`` will do; the returned loss then has no gradient.
        processes: the batches of all processes of torch.distributed are parts of one: so fixed plans normalize them.

    Raises:
        RecipeError: ``recipe.bitops`` lies outside what the controller can reach, or ``recipe`` is no recipe.
        DataError: targets that do not fit. InputError: ``x`` or ``teacher`` does not fit. TaskError: an unknown task.
    """
    net, recipe = prepared(net, "dqt.objective"), given_recipe(recipe)
    task = task_of_net(net, task)
    check_recipe(task, recipe)
    net.check_input(x)
    device = device_of(x)
    y, loss = moved(targets_for(net, task, y, count(x)), device), Loss(net, task)
    if teacher is not None:
        check_teacher(net, task, teacher, count(x))
    total = torch.zeros((), device=device)
    losses: dict[str, Tensor] = {}
    own = teacher is None
    share = widths = None
    for each in passes(net.space, recipe, step):
        if each.plan is None:
            given, widths, share, term = _chosen(net, x, recipe, step, total_steps, rank)
        else:
            with one_batch(net, processes):
                given, term = answer(net, x, each.plan), torch.zeros((), device=device)
        lost, losses[each.label] = pass_loss(loss, given, y, teacher, recipe)
        term = term + each.weight * lost
        if own and each.plan == net.space.master:
            teacher = detached(given)
        if backward is not None:
            term = _spent(term, backward)
        total = total + term
    return Objective(total, losses, share, widths)


def _spent(term: Tensor, backward: Callable[[Tensor], object]) -> Tensor:
    """The value of ``term``, whose graph is freed."""
    with torch.autocast(term.device.type, enabled=False):  # gradients of the quantizers stay float32, too
        backward(term)
    return term.detach()


def _chosen(
    net: Net, x: Any, recipe: Recipe, step: int, total_steps: int, rank: int
) -> tuple[Any, Tensor, Tensor, Tensor]:
    """The controller's pass: the answer, the widths that it chose, their mean relative BitOPs, and what these cost."""
    noise = gumbel((count(x), len(net.space.chosen), len(net.space.choices)), recipe.seed, "gumbel", step, rank)
    noise *= noise_scale(recipe, step, total_steps)
    outputs, choice = net.routed(x, temperature(recipe, step, total_steps), noise.to(device_of(x)))
    paid = expected_share(net.space, choice.soft, choice.widths, net.late)
    term = recipe.beta * cost_penalty(net.space, paid, recipe, net.late) if recipe.beta else 0.0 * paid
    return named(net, outputs), choice.widths, paid.detach(), term


def check_teacher(net: Net, task: Task, teacher: Any, samples: int) -> None:
    """Check that a teacher's answer is one tensor, shaped as the network's, where the loss is one of dqt's.

    Raises:
        InputError: it is not.
    """
    if not isinstance(task.loss, str):
        return
    teacher = chosen_output(teacher, task.output) if task.output else teacher
    found = tuple(teacher.shape) if isinstance(teacher, Tensor) else f"a value of type {type(teacher).__name__}"
    need = (samples, *chosen_output(shapes_of(net), task.output))
    if found != need:
        raise InputError(f"the teacher gives {found}: need logits of shape {need}, as the network's own")


def passes(space: Space, recipe: Recipe, step: int) -> tuple[Pass, ...]:
    """The passes of one step, the master's first where it is run.

    Without a controller the master's pass is ``own`` and counts once; with one, it is one of the fixed plans. A
    sandwich has three passes: with a controller the lowest width and the random pass take turns, because the
    controller's own pass is the third, and without them the widths that it does not like would not be trained. With
    ``alpha = 0`` the fixed plans are not run.
    """
    routed = (Pass(AUTO, None, 1.0),) if space.choices else ()
    own = () if routed else (Pass(str(space.master), space.master, 1.0),)
    if recipe.alpha == 0 or recipe.consistency == "none":
        return own + routed
    lower = [b for b in space.widths if b != space.master]
    first = own or (Pass(str(space.master), space.master, recipe.alpha),)
    if recipe.consistency == "all":
        return first + tuple(Pass(str(b), b, recipe.alpha) for b in reversed(lower)) + routed
    lowest = tuple(Pass(str(b), b, recipe.alpha) for b in lower[:1])
    if not routed:
        return first + lowest + _drawn(space, recipe, step)
    return first + ((_drawn(space, recipe, step) or lowest) if step % 2 else lowest) + routed


def _drawn(space: Space, recipe: Recipe, step: int) -> tuple[Pass, ...]:
    """The random pass of a sandwich: one width between the extremes for all layers, or any width for each layer."""
    rng = generator(recipe.seed, "widths", step)
    between = space.widths[1:-1]
    by_layer = recipe.draw == "layer" or (recipe.draw == "both" and bool(torch.randint(2, (), generator=rng)))
    if len(space.widths) == 1 or (not by_layer and not between):
        return ()
    if not by_layer:
        b = between[int(torch.randint(len(between), (), generator=rng))]
        return (Pass(str(b), b, recipe.alpha),)
    picks = torch.randint(len(space.widths), (len(space.layers),), generator=rng).tolist()
    chosen = {
        layer.name: space.edge_width if layer.edge else space.widths[i]
        for layer, i in zip(space.layers, picks, strict=True)
    }
    return (Pass(MIXED, Plan.of(chosen), recipe.alpha),)


def temperature(recipe: Recipe, step: int, total_steps: int) -> float:
    """The Gumbel-softmax temperature at ``step``: exponential from ``gumbel_start`` to ``gumbel_end``."""
    part = min(1.0, step / max(1, total_steps - 1))
    return float(recipe.gumbel_start * (recipe.gumbel_end / recipe.gumbel_start) ** part)


def noise_scale(recipe: Recipe, step: int, total_steps: int) -> float:
    """Factor on the Gumbel noise at ``step``: 1 at first, 0 over the last ``recipe.settle`` of all steps.

    The controller serves the argmax; it trains on it, too, before it ends, so that its cost is the cost that is served.
    """
    part = step / max(1, total_steps)
    return max(0.0, 1 - part / (1 - recipe.settle))


@lru_cache(maxsize=16)
def share_table(space: Space, late: Late | None = None) -> tuple[Tensor, float]:
    """BitOPs as a fraction of the master's: float64 ``[chosen layers, choices]``, and the part that is fixed.

    Fixed are the first and last layer at ``edge_width`` and the controller itself (docs/numerics.md, equation 16), and
    layers that run before a late decision. Where samples run again, a choice beyond the first width costs both runs;
    what the edges cost in the second is shared out among the layers.
    """
    full, edges = full_bitops(space), sum(layer.macs for layer in space.layers if layer.edge) * space.edge_width**2
    chosen = [layer for layer in space.layers if not layer.edge and (late is None or layer.name in late.layers)]
    macs = [layer.macs for layer in chosen]
    table = torch.tensor([[m * b * b / full for b in space.choices] for m in macs], dtype=torch.float64)
    fixed = (edges + controller_bitops(space)) / full
    if late is None:
        return table, fixed
    if late.again:
        table[:, 1:] += table[:, :1] + edges / full / len(macs)
    others = [layer.macs for layer in space.layers if not layer.edge and layer.name not in late.layers]
    return table, fixed + sum(others) * late.first**2 / full


def expected_share(space: Space, soft: Tensor, widths: Tensor, late: Late | None = None) -> Tensor:
    """Mean BitOPs over the batch as a fraction of the master's, 0-d: the value of the widths that were chosen, the
    gradient of the expectation (straight-through).

    Args:
        soft: probabilities ``[N, chosen layers, choices]``.   widths: the choice, int64 ``[N, chosen layers]``.
    """
    table, fixed = share_table(space, late)
    expected = (soft.float().mean(0) * table.to(soft.device, torch.float32)).sum() + fixed
    paid = chosen_share(space, widths, late).mean().to(expected.device, torch.float32)
    return expected + (paid - expected).detach()


def chosen_share(space: Space, widths: Tensor, late: Late | None = None) -> Tensor:
    """BitOPs of each sample as a fraction of the master's, float64 ``[N]``; ``widths``: ``[N, chosen layers]``."""
    table, fixed = share_table(space, late)
    index = torch.searchsorted(torch.tensor(space.choices), widths.cpu().contiguous())
    return table.gather(1, index.T.contiguous()).sum(0) + fixed


def cost_penalty(space: Space, share: Tensor, recipe: Recipe, late: Late | None = None) -> Tensor:
    """``(share / target - 1)^2``, and 0 below the target where ``budget`` is ``"limit"``.

    Raises:
        RecipeError: the target cannot be reached by any choice.
    """
    table, fixed = share_table(space, late)
    least, most = float(table.amin(1).sum()) + fixed, float(table.amax(1).sum()) + fixed
    if recipe.bitops < least or (recipe.budget == "target" and recipe.bitops > most):
        raise RecipeError(
            f"recipe.bitops {recipe.bitops:g}: the controller reaches {least:.4f} to {most:.4f} of the master's BitOPs"
        )
    excess = share / recipe.bitops - 1
    return (F.relu(excess) if recipe.budget == "limit" else excess).square()
