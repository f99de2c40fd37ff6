"""One differentiable pass through a network: the widths, what the controller chose, how it is computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from dqt.arith.plan import Pair, Space
from dqt.nn import fake


@dataclass
class Choice:
    """The widths that a controller chose.

    Attributes:
        layers: names of the layers it chose for.
        widths: int64 ``[N, layers]``.
        soft: float ``[N, layers, choices]``, the probabilities of this draw (noise and temperature included); rows
            sum to 1. Empty in an exact run.
        log_probability: float ``[N, layers]``, log of the noise-free probability of what was chosen. Empty in an
            exact run.
    """

    layers: tuple[str, ...]
    widths: Tensor
    soft: Tensor
    log_probability: Tensor

    def of(self, layer: str) -> int | None:
        """The column of a layer, ``None`` if its width is fixed."""
        return self.layers.index(layer) if layer in self.layers else None


class Late(NamedTuple):
    """How a controller decides late: for which layers, at what width a run begins, whether samples run again."""

    layers: tuple[str, ...]
    first: int
    again: bool


@dataclass
class Run:
    """One pass through the network: the widths, and how it is computed.

    Attributes:
        widths: (weight, activation) width by layer; what a choice covers counts for more.
        quantized: ``False``: the float model, for calibration.
        batch_statistics: batch norms use and update the statistics of the batch; tracked ranges move.
        rough: float32 serves where evaluation computes what the program does, as for statistics of values.
        choice: set by the node of a routed run that decides.
        temperature, noise: of the Gumbel-softmax; ``None``: the argmax.
    """

    widths: dict[str, Pair]
    quantized: bool = True
    batch_statistics: bool = False
    choice: Choice | None = None
    temperature: float | None = None
    noise: Tensor | None = None
    rough: bool = False

    @property
    def mirrors(self) -> bool:
        """Whether values are those of the program: its integers, or float64 that rounds as they do."""
        return self.quantized and not self.batch_statistics and not self.rough

    def summed(self, x: Tensor) -> Tensor:
        """``x`` as sums need it: float64, which is exact, where a program is mirrored; elsewhere float32, at least."""
        return x.double() if self.mirrors else x.float()

    def precision(self, device: torch.device) -> AbstractContextManager[Any]:
        """Without autocast where a program is mirrored: integers would not fit."""
        return torch.autocast(device.type, enabled=False) if self.mirrors else nullcontext()

    def decide(self, layers: tuple[str, ...], choices: Sequence[int], logits: Tensor, noise: Tensor | None) -> None:
        """Set the choice: for each of ``layers`` the width of ``choices`` with the largest logit, once noise is added.

        Args:
            logits: float ``[N, layers, choices]``.   noise: what is added to them, or ``None``.
        """
        noisy = logits if noise is None else logits + noise
        soft = F.softmax(noisy / (self.temperature or 1.0), dim=-1)
        hard = noisy.argmax(-1)
        log_probability = F.log_softmax(logits, -1).gather(-1, hard[..., None]).squeeze(-1)
        widths = torch.tensor(tuple(choices), device=hard.device)[hard]
        self.choice = Choice(layers, widths, soft, log_probability)


def controller_widths(space: Space) -> dict[str, Pair]:
    """The controller's own layers, which always run at the master width."""
    return {layer.name: (space.master,) * 2 for layer in space.controller}


def first_widths(space: Space, first: int) -> dict[str, Pair]:
    """The widths at which a run begins whose controller decides late: ``first`` bits, but for edges and controller."""
    return dict.fromkeys(space.chosen, (first, first)) | edge_widths(space) | controller_widths(space)


def edge_widths(space: Space) -> dict[str, Pair]:
    """The first and last layer, whose width a controller does not choose."""
    return {layer.name: (space.edge_width,) * 2 for layer in space.layers if layer.edge}


def by_width(chosen: Tensor, x: Tensor, run: Callable[[Tensor, int, float], Tensor]) -> Tensor:
    """Run groups of samples of equal width and put the results back in order: every sample is computed once.

    Args:
        chosen: int64 ``[N]``, the width of each sample.
        x: ``[N, ...]``.
        run: (rows of ``x`` of one width, that width, their share of the batch) -> result rows.
    """
    widths, counts = torch.unique(chosen, return_counts=True)
    if len(widths) == 1:
        return run(x, int(widths), 1.0)
    order = chosen.argsort(stable=True)
    inverse = order.argsort()
    groups = zip(fake.reorder(x, order, inverse).split_with_sizes(counts.tolist()), widths.tolist(), strict=True)
    results = [run(rows, b, len(rows) / len(chosen)) for rows, b in groups]
    return fake.reorder(torch.cat(results), inverse, order)
