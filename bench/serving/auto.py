"""Time of a batch whose samples choose their own widths, beside the same batch at each width; time of the controller.

The controller of ResNet-20 has random weights, and biases that balance its logits, so that every layer runs at every
width.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch

import dqt
from bench.common import Check
from bench.serving.common import Measured, Setting, ratios, spread, turns
from dqt.arith.plan import AUTO
from dqt.program.interpret import execute
from dqt.program.listing import rows
from dqt.program.program import Program
from dqt.runtime import Runtime
from dqt.train.build import float_model
from dqt.train.recipe import ModelPart

BATCH, WIDTHS, PROFILES = 32, (8, 4, 2), 200
OVER, CONTROLLER = 1.10, 0.03
LOGITS = "controller.logits"


def measure(setting: Setting) -> Measured:
    """Time of "auto" over the mean of the single widths' times, weighted by the MACs that had each width."""
    x = _inputs()
    program = _program(setting, x)
    run = Runtime(program, threads=1)
    found = turns({str(b): partial(run, x, b) for b in (AUTO, *WIDTHS)}, 4 * setting.seconds)
    _, widths = run(x, AUTO, return_widths=True)
    macs = np.array([layer.macs for layer in program.space.layers])
    shares = {str(b): float((widths == b).mean(0) @ macs / macs.sum()) for b in WIDTHS}
    weighted = np.sum([share * np.array(found[b]) for b, share in shares.items()], axis=0)
    over = ratios(found[AUTO], weighted.tolist())
    mixed = float(np.mean([len(set(column)) > 1 for column in widths.T]))
    controller = _controller(run, program, x)
    results: dict[str, Any] = {
        "network": "resnet20",
        "batch": BATCH,
        "ms": {label: spread(values) for label, values in found.items()},
        "shares": {b: round(share, 4) for b, share in shares.items()},
        "layers_with_several_widths": round(mixed, 4),
        "over_weighted_mean": spread(over),
        "controller": controller,
    }
    what = f"auto on a batch of {BATCH}, its time over the mean of the single widths' weighted by what was chosen"
    return results, [
        Check(what, results["over_weighted_mean"]["median"], "<=", OVER),
        Check("share of the controller's instructions in that run", controller["share"], "<=", CONTROLLER),
    ]


def _inputs() -> np.ndarray[Any, np.dtype[np.float32]]:
    """Images that differ in brightness and colour, place by place."""
    generator = torch.Generator().manual_seed(2)
    coarse = torch.randn(BATCH, 3, 4, 4, generator=generator).repeat_interleave(8, 2).repeat_interleave(8, 3)
    x = coarse + 0.3 * torch.randn(coarse.shape, generator=generator)
    return x.numpy()


def _program(setting: Setting, x: np.ndarray[Any, np.dtype[np.float32]]) -> Program:
    torch.manual_seed(0)
    args: dict[str, Any] = {"weights": str(setting.weights)} if setting.weights else {}
    model = float_model(ModelPart(factory="dqt.train.models:resnet20", **args)).eval()
    images = torch.from_numpy(x)
    config = dqt.Config(widths=tuple(sorted(WIDTHS)), controller=dqt.Controller())
    net = dqt.calibrate(dqt.prepare(model, images[:2], config).eval(), [images])
    state = dict(net.named_parameters())
    with torch.no_grad():
        state[f"{LOGITS}.weight"].normal_()
        state[f"{LOGITS}.clip"].fill_(3.0)
        state[f"{LOGITS}.bias"].sub_(torch.from_numpy(_logits(dqt.lower(net), x).mean(0)).float())
    return dqt.lower(net)


def _logits(program: Program, x: np.ndarray[Any, np.dtype[np.float32]]) -> Any:
    choose = program.choose
    assert choose is not None
    value = next(v for v in program.values if v.name == choose.x)
    return execute(program, x, AUTO, keep=True).values[choose.x] * value.scale


def _controller(run: Runtime, program: Program, x: Any) -> dict[str, Any]:
    """Instructions that no fixed plan needs, in microseconds, and their share of a run."""
    found = np.median([run.profile(x, AUTO) for _ in range(PROFILES)], axis=0)
    own = [row.name.startswith("controller.") for row in rows(program)]
    each = zip(rows(program), found, own, strict=True)
    took = {f"{row.op} {row.name}": round(1e6 * seconds, 2) for row, seconds, mine in each if mine}
    return {"microseconds": took, "share": round(float(found[own].sum() / found.sum()), 4)}
