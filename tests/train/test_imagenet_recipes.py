"""The recipes for ImageNet that ship, on a few pictures in the layout that users have: trained, resumed, lowered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import dqt
from dqt.cli.train import shipped
from dqt.nn.net import Net
from dqt.testing.zoo import timm
from dqt.train.build import load_splits, network
from dqt.train.checkpoint import LAST, Checkpoint
from dqt.train.recipe import Run, load_run

RECIPES = sorted(name for name in shipped() if name.startswith("imagenet-"))
SMALL = {"epochs": 1, "batch_size": 4, "workers": 0, "reestimate_batches": 1, "calibration_batches": 1}
VIT = {"img_size": 64, "depth": 2}


@pytest.fixture(autouse=True)
def _pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``data/imagenet``, with train and val of two classes."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(1)
    for part, count in (("train", 6), ("val", 2)):
        for name in ("n01440764", "n01443537"):
            folder = Path("data/imagenet") / part / name
            folder.mkdir(parents=True)
            for i in range(count):
                Image.fromarray(rng.integers(0, 256, (90, 80 + i, 3), dtype=np.uint8)).save(folder / f"{i}.JPEG")


def small(name: str, **recipe: Any) -> Run:
    """A recipe with random weights, pictures of 64 pixels, and few of them."""
    run = load_run(shipped()[name])
    given = run.recipe.model_dump() | SMALL | {"valid_widths": (8, run.network.widths[0])} | recipe
    args = run.model.args | (VIT if name == "imagenet-vit-s" else {})
    parts: dict[str, Any] = {
        "model": run.model.model_copy(update={"weights": None, "args": args}),
        "data": run.data.model_copy(update={"valid": 4, "size": 64, "resize": 72}),
        "recipe": type(run.recipe)(**given),
    }
    return run.model_copy(update=parts)


def trained(run: Run, *, resume: bool = False) -> Net:
    data = load_splits(run)
    net = network(run, data.train.shape)
    dqt.fit(net, data.train, data.valid, run=run, run_dir="runs", resume=resume, progress=False)
    return net


@pytest.mark.timeout(900)  # ResNet-50 takes half a minute of a free core
@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_trains_goes_on_and_is_lowered(name: str) -> None:
    timm()  # beside a CPU build of torch neither it nor torchvision could be imported otherwise
    net = trained(small(name))
    assert Checkpoint.load(Path("runs") / LAST).epoch == 1
    again = trained(small(name), resume=True)
    assert all(
        np.array_equal(a.numpy(), b.numpy())
        for a, b in zip(net.state_dict().values(), again.state_dict().values(), strict=True)
    )
    program = dqt.lower(again.eval())
    assert bool(program.space.choices) == (name == "imagenet-resnet50")
    x = np.random.default_rng(0).standard_normal((1, 3, 64, 64)).astype(np.float32)
    np.testing.assert_array_equal(dqt.Runtime(program, threads=1)(x, 4), dqt.interpret(program, x, 4))


def test_there_are_recipes_for_three_kinds_of_networks() -> None:
    assert RECIPES == ["imagenet-mobilenetv2", "imagenet-resnet50", "imagenet-vit-s"]
