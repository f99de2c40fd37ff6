"""The networks that are timed: lowered once, then kept as ``.dqt`` files in a folder.

Torchvision's networks have random weights, because the time of an instruction does not depend on its weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

import dqt
from bench.common import parser
from dqt.program.program import Program
from dqt.testing.networks import unsettle
from dqt.testing.zoo import torchvision
from dqt.train.build import float_model
from dqt.train.recipe import ModelPart

SIDES = {"resnet18": 224, "resnet50": 224, "mobilenet_v2": 224, "resnet20": 32}
"""Network -> height and width of its input."""
WIDTHS, IMAGES, COARSE = (2, 4, 8), 4, 8


def main() -> None:
    """Make every network that the folder lacks."""
    options = parser(__doc__)
    options.add_argument("folder", type=Path, help="where the files are kept")
    options.add_argument("--weights", type=Path, help="float weights of ResNet-20; random without")
    arguments = options.parse_args()
    for name in SIDES:
        network(name, arguments.folder, arguments.weights)
        print(arguments.folder / f"{name}.dqt")


def network(name: str, folder: Path, weights: Path | None = None) -> Program:
    """The program of ``name``, from ``folder/NAME.dqt`` if that is there; ``weights``: of ResNet-20 alone."""
    path = folder / f"{name}.dqt"
    if path.exists():
        return Program.load(path)
    torch.manual_seed(0)
    if name == "resnet20":
        args: dict[str, Any] = {"weights": str(weights)} if weights else {}
        model = float_model(ModelPart(factory="dqt.train.models:resnet20", **args)).eval()
    else:
        model = torchvision().models.get_model(name, weights=None).eval()
        unsettle(model)
    x = images(SIDES[name])
    net = dqt.calibrate(dqt.prepare(model, x[:2], dqt.Config(widths=WIDTHS)).eval(), [x])
    program = dqt.lower(net, info={"weights": "trained" if weights and name == "resnet20" else "random"})
    folder.mkdir(parents=True, exist_ok=True)
    program.save(path)
    return program


def images(side: int, seed: int = 1) -> torch.Tensor:
    """A few inputs ``[IMAGES, 3, side, side]`` that are smooth, as photographs are, with a little noise."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(IMAGES, 3, COARSE, COARSE, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size=(side, side), mode="bilinear", align_corners=False)
    return smooth + 0.1 * torch.randn(smooth.shape, generator=generator)


if __name__ == "__main__":
    main()
