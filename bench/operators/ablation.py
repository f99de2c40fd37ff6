"""What the power-of-two rule costs: weights of ResNet-20 by shift, by shift with saturation, and with free scales.

Nothing is trained. A copy of the float model gets the values that the weight codes represent; its activations stay in
float. Its batch norm statistics are recomputed from augmented training images, for each method and width.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

import dqt
from dqt.arith.nested import limits, narrow_weight, weight_midpoints
from dqt.nn.layers import WidthLayer
from dqt.train.build import float_model
from dqt.train.data import DataSet, load
from dqt.train.recipe import ModelPart

MASTER, WIDTHS, SATURATION = 8, (8, 7, 6, 5, 4, 3, 2), (0, 1, 2)
CALIBRATION, BATCH, BATCHES, SETS, TEST_BATCH = 256, 250, 8, 2, 50
CLIPS = {"mse": "least squared error at 5 bits", "max": "largest magnitude"}
STEPS = 256
SETTINGS = {
    "master": MASTER,
    "saturation": SATURATION,
    "clips": CLIPS,
    "statistics_images": BATCH * BATCHES,
    "statistics_batch": BATCH,
    "statistics_sets": SETS,
    "free_step_candidates": STEPS,
    "calibration_images": CALIBRATION,
}


@dataclass(frozen=True, eq=False)
class Master:
    """A layer's 8-bit codes, int16 ``[out, ...]``, and the step of each output channel, ``[out]``."""

    codes: Tensor
    step: Tensor

    def real(self, codes: Tensor) -> Tensor:
        """What codes in master units stand for."""
        return codes * per_channel(self.step, codes)


def per_channel(step: Tensor, weight: Tensor) -> Tensor:
    """``[out]`` so that it broadcasts over ``[out, ...]``."""
    return step.view(-1, *(1 for _ in weight.shape[1:]))


def midpoints(b: int, weight: Tensor) -> Tensor:
    """``h_b`` of a weight."""
    return torch.from_numpy(weight_midpoints(MASTER, b, tuple(weight.shape)))


def shifted(q: Tensor, b: int, e: int = 0) -> Tensor:
    """``T_b`` with the range clipped to ``2^-e`` of the master's: the ``(b + e)``-bit code saturated to ``b`` bits.

    Args:
        q: master codes, int16.   e: in ``[0, 8 - b]``; 0 is the rule as it is.
    """
    s = MASTER - b - e
    lo, hi = limits(b, signed=True)
    return narrow_weight((q >> s).clip(lo, hi) << s, MASTER, b + e, midpoints(b + e, q))


def error(real: Tensor, weight: Tensor) -> Tensor:
    """Squared error of each output channel, float64 ``[out]``."""
    return (real.double() - weight.double()).square().flatten(1).sum(1)


def saturation(master: Master, weight: Tensor, b: int) -> int:
    """The ``e`` of least squared error of a layer's weights."""
    tried = [e for e in SATURATION if b + e <= MASTER]
    return min(tried, key=lambda e: float(error(master.real(shifted(master.codes, b, e)), weight).sum()))


def free(weight: Tensor, b: int) -> Tensor:
    """``weight`` on mid-rise levels of ``b`` bits, each output channel with its step of least squared error."""
    lo, hi = limits(b, signed=True)
    widest = weight.flatten(1).abs().amax(1).clamp_min(1e-12) * 2 / (1 << b)
    best = torch.zeros_like(weight)
    least = torch.full((len(weight),), float("inf"), dtype=torch.float64)
    for share in torch.linspace(0.1, 1.1, STEPS).tolist():
        step = per_channel(widest * share, weight)
        real = ((weight / step).floor().clip(lo, hi) + 0.5) * step
        found = error(real, weight)
        best = torch.where(per_channel(found < least, weight), real, best)
        least = torch.minimum(found, least)
    return best


def masters(model: nn.Module, images: Tensor) -> dict[str, dict[str, Master]]:
    """The master codes of every layer as ``dqt.calibrate`` makes them, by rule of the clip and name of the layer."""
    found = {}
    for observer in CLIPS:
        net = dqt.prepare(copy.deepcopy(model), images[:2])
        dqt.calibrate(net, images, observer=observer, correct_bias=False)  # type: ignore[arg-type]
        layers = [module for module in net.modules() if isinstance(module, WidthLayer)]
        found[observer] = {la.name: Master(la.codes().short(), la.scale().detach()) for la in layers}
    return found


def weights_of(model: nn.Module, names: Iterable[str]) -> dict[str, Tensor]:
    """The weights of some layers."""
    return {name: model.get_parameter(f"{name}.weight").detach() for name in names}


def ways(model: nn.Module, found: dict[str, dict[str, Master]], b: int) -> dict[str, tuple[dict[str, Tensor], Any]]:
    """The weights of every layer at ``b`` bits, by way, and each layer's ``e`` where it was chosen."""
    weights = weights_of(model, found["mse"])
    names = list(weights)
    edges, inner = (names[0], names[-1]), names[1:-1]
    made: dict[str, tuple[dict[str, Tensor], Any]] = {}
    for clip, master in found.items():
        last = {name: master[name].real(shifted(master[name].codes, MASTER)) for name in edges}
        plain = {name: master[name].real(shifted(master[name].codes, b)) for name in inner}
        chosen = {name: saturation(master[name], weights[name], b) for name in inner}
        clipped = {name: master[name].real(shifted(master[name].codes, b, e)) for name, e in chosen.items()}
        made[f"shift, {clip}"] = (plain | last, None)
        made[f"saturated, {clip}"] = (clipped | last, chosen)
        if clip == "mse":
            made["free"] = ({name: free(weights[name], b) for name in inner} | last, None)
    return made


@torch.no_grad()
def with_weights(model: nn.Module, weights: dict[str, Tensor], batches: Sequence[Tensor]) -> nn.Module:
    """A copy with these weights and batch norm statistics that are the mean over ``batches``."""
    made = copy.deepcopy(model)
    for name, weight in weights.items():
        made.get_parameter(f"{name}.weight").copy_(weight)
    update_bn(batches, made)
    return made.eval()


@torch.no_grad()
def top1(model: nn.Module, test: DataSet) -> float:
    """Top-1 in percent, in float."""
    parts = torch.split(torch.arange(len(test)), TEST_BATCH)
    right = sum(int((model(test.inputs(part)).argmax(1) == test.labels[part]).sum()) for part in parts)
    return round(100 * right / len(test), 2)


def statistics_sets(train: DataSet) -> list[list[Tensor]]:
    """Sets of batches of different training images, augmented as in training, always the same."""
    order = torch.split(torch.randperm(len(train), generator=torch.Generator().manual_seed(0)), BATCH)
    pick = [order[i * BATCHES : (i + 1) * BATCHES] for i in range(SETS)]
    return [[train.batch(part, "operators", i, k)[0] for k, part in enumerate(parts)] for i, parts in enumerate(pick)]


def measure(data: Path, weights: Path) -> dict[str, Any]:
    """Top-1 on the whole test set by width and way, for each set of statistics."""
    splits = load(f"cifar10={data}")
    model = float_model(ModelPart(factory="dqt.train.models:resnet20", weights=str(weights))).eval()
    found = masters(model, splits.train.inputs(slice(0, CALIBRATION)))
    sets = statistics_sets(splits.train)
    original = weights_of(model, found["mse"])
    results: dict[str, Any] = {
        "float_top1": top1(model, splits.test),
        "float_top1_statistics_anew": [top1(with_weights(model, {}, batches), splits.test) for batches in sets],
        "test_images": len(splits.test),
        "widths": {},
    }
    print(results, flush=True)
    known: dict[bytes, list[float]] = {}
    for b in WIDTHS:
        row = results["widths"][str(b)] = {}
        for way, (made, chosen) in ways(model, found, b).items():
            key = b"".join(weight.numpy().tobytes() for weight in made.values())
            if key not in known:  # saturation that is chosen nowhere changes nothing
                known[key] = [top1(with_weights(model, made, batches), splits.test) for batches in sets]
            row[way] = {"top1": known[key], "relative_squared_error": relative(made, original)}
            if chosen is not None:
                row[way]["layers_by_e"] = [list(chosen.values()).count(e) for e in SATURATION]
        print(b, row, flush=True)
    return results


def relative(made: dict[str, Tensor], weights: dict[str, Tensor]) -> float:
    """Squared error of the inner layers' weights over their squares, mean over the layers."""
    shares = [float(error(made[n], w).sum() / w.double().square().sum()) for n, w in list(weights.items())[1:-1]]
    return float(f"{sum(shares) / len(shares):.4g}")
