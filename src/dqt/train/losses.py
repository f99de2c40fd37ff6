"""The loss of a task on tensors: of a batch, of each sample, and how far two answers are apart."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from dqt.arith.errors import TaskError
from dqt.arith.margin import chosen_output
from dqt.nn.net import Net
from dqt.program.task import Task
from dqt.train.answers import returned
from dqt.train.recipe import Recipe, RecipeError
from dqt.train.structures import count, taken, tensors

TINY = 1e-12


class Loss:
    """The loss of ``task`` for the answers of ``net``.

    Answers are what the network's own call gives before it is put in the structure of the model: a tensor, or several
    by name. A loss of the user's own gets them as the model returns them.
    """

    def __init__(self, net: Net, task: Task) -> None:
        self.net, self.task = net, task

    @property
    def name(self) -> str:
        """What it is, for records."""
        return self.task.loss if isinstance(self.task.loss, str) else f"the loss of {self.task.name}"

    # of targets

    def mean(self, answer: Any, target: Any, smoothing: float = 0.0) -> Tensor:
        """The mean over the samples (positions), 0-d."""
        if self.task.loss == "cross entropy":
            scores = self._scores(answer)
            return F.cross_entropy(scores.float(), target, label_smoothing=smoothing, ignore_index=self.task.ignore)
        if self.task.loss == "squared error":
            return F.mse_loss(self._one(answer).float(), target)
        return self._own(self.returned(answer), target).mean()

    def each(self, answer: Any, target: Any) -> Tensor:
        """The loss of every sample, ``[N]``."""
        if isinstance(self.task.loss, str):
            if self.task.loss == "cross entropy":
                scores = self._scores(answer).float()
                lost = F.cross_entropy(scores, target, reduction="none", ignore_index=self.task.ignore)
            else:
                lost = F.mse_loss(self._one(answer).float(), target, reduction="none")
            return lost if lost.dim() == 1 else lost.flatten(1).mean(1)
        whole = self.returned(answer)
        found, samples = self._own(whole, target), count(answer)
        if found.shape == (samples,):
            return found
        rows = [slice(i, i + 1) for i in range(samples)]
        return torch.stack([self._own(taken(whole, row), taken(target, row)).mean() for row in rows])

    def total(self, answer: Any, target: Any) -> float:
        """The sum over the samples of the mean over each, in float64."""
        if self.task.loss == "cross entropy":
            scores = self._scores(answer).double()
            if scores.dim() == 2:
                return float(F.cross_entropy(scores, target, reduction="sum"))
            return float(F.cross_entropy(scores, target, ignore_index=self.task.ignore)) * len(scores)
        if self.task.loss == "squared error":
            return float(F.mse_loss(self._one(answer).double(), target.double())) * count(answer)
        return float(self.mean(answer, target)) * count(answer)

    # of two answers

    @property
    def teaches(self) -> bool:
        """Whether one answer may learn from another."""
        return isinstance(self.task.loss, str) or self.task.divergence is not None

    def divergence(self, answer: Any, teacher: Any, target: Any, temperature: float) -> Tensor:
        """How far ``answer`` is from ``teacher``, 0-d: with cross entropy ``T^2 * KL(teacher / T || answer / T)``."""
        if self.task.divergence is not None:
            return self.task.divergence(self.returned(answer), self.returned(teacher)).mean()
        if self.task.loss == "squared error":
            return F.mse_loss(self._one(answer).float(), self._one(teacher).float())
        pair = self._scores(answer), self._scores(teacher)
        if pair[0].dim() > 2:  # positions are samples
            counted = (target != self.task.ignore).flatten()
            pair = _positions(pair[0])[counted], _positions(pair[1])[counted]
        soft, goal = (F.log_softmax(scores.float() / temperature, dim=1) for scores in pair)
        return F.kl_div(soft, goal, reduction="batchmean", log_target=True) * temperature**2

    def distance(self, answer: Any, master: Any) -> float:
        """How far ``answer`` is from ``master`` without any target: the sum over the samples, in float64."""
        samples = count(answer)
        if self.task.divergence is not None:
            return float(self.task.divergence(self.returned(answer), self.returned(master)).mean()) * samples
        if self.task.loss == "squared error":
            return float(F.mse_loss(self._one(answer).double(), self._one(master).double())) * samples
        if self.task.loss != "cross entropy":
            return _relative(answer, master) * samples
        scores, goal = self._scores(answer).double(), self._scores(master).double()
        both = F.log_softmax(scores, dim=1), F.log_softmax(goal, dim=1)
        lost = float(F.kl_div(*both, reduction="sum", log_target=True))
        return lost / max(1, scores[0, 0].numel())

    @property
    def distance_name(self) -> str:
        """What :meth:`distance` is, for records."""
        if self.task.loss == "cross entropy" or self.task.divergence is not None:
            return "divergence"
        return "squared error" if self.task.loss == "squared error" else "relative squared error"

    # answers

    def returned(self, answer: Any) -> Any:
        """An answer in the structure that the model returns it in."""
        return returned(self.net, answer)

    def _one(self, answer: Any) -> Tensor:
        one: Tensor = chosen_output(answer, self.task.output)
        return one

    def _scores(self, answer: Any) -> Tensor:
        """With the classes in dimension 1."""
        return self._one(answer).movedim(self.task.axis, 1)

    def _own(self, answer: Any, target: Any) -> Tensor:
        assert callable(self.task.loss)
        found = self.task.loss(answer, target)
        if not isinstance(found, Tensor):
            raise TaskError(f"the loss of {self.task.name} gives a {type(found).__name__}: need a tensor, 0-d or [N]")
        return found


def pass_loss(loss: Loss, answer: Any, target: Any, teacher: Any, recipe: Recipe) -> tuple[Tensor, Tensor]:
    """The loss of one pass, and that of its targets alone, detached.

    ``(1 - d) * loss(target) + d * divergence(teacher)`` with a teacher (Hinton et al., 2015), where the task has a
    divergence; the loss of the targets without one.
    """
    plain = loss.mean(answer, target, recipe.label_smoothing)
    if teacher is None or recipe.distill == 0 or not loss.teaches:
        return plain, plain.detach()
    apart = loss.divergence(answer, teacher, target, recipe.distill_temperature)
    return (1 - recipe.distill) * plain + recipe.distill * apart, plain.detach()


def check_recipe(task: Task, recipe: Recipe) -> None:
    """Raise :class:`RecipeError` where the recipe asks for what the task's loss does not have."""
    if recipe.label_smoothing and task.loss != "cross entropy":
        raise RecipeError(f"recipe.label_smoothing {recipe.label_smoothing}: the loss of {task.name} has no labels")


def _positions(scores: Tensor) -> Tensor:
    """``[N, C, positions...]`` as ``[N * positions, C]``."""
    return scores.flatten(2).movedim(1, 2).flatten(0, 1)


def _relative(answer: Any, master: Any) -> float:
    """The squared error of every output over the mean square of the master's, their mean."""
    pairs = list(zip(tensors(answer), tensors(master), strict=True))
    return sum(
        float((y.double() - m.double()).square().mean() / m.double().square().mean().clamp_min(TINY)) for y, m in pairs
    ) / len(pairs)
