"""Lightning's Trainer and Hugging Face's train a prepared network in place of the float model, unchanged."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import dqt
from dqt.nn.net import Net

from .conftest import tiny_data, tiny_net
from .trainers import needs

RECIPE = dqt.Recipe(consistency="sandwich", distill=0.5)


@pytest.fixture(autouse=True)
def _their_warnings() -> Iterator[None]:
    """What these libraries warn of themselves is theirs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def exact_everywhere(net: Net, x: Any) -> None:
    """What was trained is what is served."""
    program = dqt.lower(net.eval())
    for b in net.space.widths:
        np.testing.assert_array_equal(net.tensor(x, b, exact=True).numpy(), dqt.interpret(program, x, b))


# Lightning


def lightning_module(net: Net, *, every_width: bool) -> Any:
    """A module as Lightning's users write it; ``every_width``: with the objective in place of the cross entropy."""
    (lightning,) = needs("lightning")

    class Classifier(lightning.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.net = net
            self.seen: list[float] = []

        def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
            x, y = batch
            if every_width:
                total = int(self.trainer.estimated_stepping_batches)
                loss = dqt.objective(self.net, x, y, RECIPE, step=self.global_step, total_steps=total).loss
            else:
                loss = F.cross_entropy(self.net(x), y)
            self.seen.append(float(loss))
            return loss

        def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
            self.log("valid", F.cross_entropy(self.net(batch[0], 2), batch[1]))

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.05)

    return Classifier()


def lightning_trainer(folder: Path, epochs: int, **options: Any) -> Any:
    (lightning,) = needs("lightning")
    return lightning.Trainer(
        max_epochs=epochs, accelerator="cpu", devices=1, logger=False, default_root_dir=folder, num_sanity_val_steps=1,
        enable_progress_bar=False, enable_model_summary=True, **options,
    )  # fmt: skip


def loaders() -> tuple[DataLoader[Any], DataLoader[Any]]:
    data = TensorDataset(*tiny_data())
    return DataLoader(data, batch_size=16), DataLoader(data, batch_size=32)


@pytest.mark.parametrize("every_width", [False, True])
def test_lightnings_trainer(every_width: bool, tmp_path: Path) -> None:
    x, _ = tiny_data()
    module = lightning_module(dqt.calibrate(tiny_net(), [x]).train(), every_width=every_width)
    trainer = lightning_trainer(tmp_path, 4)
    trainer.fit(module, *loaders())
    count = len(module.seen)
    assert count == 4 * len(loaders()[0])
    assert sum(module.seen[-4:]) < 0.9 * sum(module.seen[:4])
    assert float(trainer.callback_metrics["valid"]) < 3
    exact_everywhere(module.net, x)


def test_lightnings_checkpoint_goes_on_where_it_stopped(tmp_path: Path) -> None:
    x, _ = tiny_data()

    def trained(epochs: int, before: Any = None) -> Any:
        torch.manual_seed(0)
        module = lightning_module(dqt.calibrate(tiny_net(), [x]).train(), every_width=True)
        trainer = lightning_trainer(tmp_path / str(epochs), 4, limit_train_batches=3)
        trainer.fit_loop.max_epochs = epochs
        trainer.fit(module, *loaders(), ckpt_path=before, weights_only=False)
        path = tmp_path / f"{epochs}.ckpt"
        trainer.save_checkpoint(path)
        return module.net.state_dict(), path

    _, half = trained(2)
    resumed, _ = trained(4, half)
    again, _ = trained(4)
    assert all(torch.equal(value, again[name]) for name, value in resumed.items())


# Hugging Face


class Pictures(torch.utils.data.Dataset[dict[str, Tensor]]):
    """Bright and dark ones."""

    def __init__(self, count: int = 48) -> None:
        rng = torch.Generator().manual_seed(1)
        self.labels = torch.arange(count) % 2
        self.pixels = torch.randn(count, 3, 16, 16, generator=rng) + (2.0 * self.labels - 1)[:, None, None, None]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> dict[str, Tensor]:
        return {"pixel_values": self.pixels[i], "labels": self.labels[i]}


def vit() -> nn.Module:
    """A small one with random weights, from its configuration."""
    (transformers,) = needs("transformers")
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        image_size=16, patch_size=4, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        num_labels=2, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    model: nn.Module = transformers.ViTForImageClassification(config)
    return model


def hugging_face_trainer(net: Net, folder: Path, *, every_width: bool, **options: Any) -> Any:
    transformers, _ = needs("transformers", "accelerate")

    class EveryWidth(transformers.Trainer):  # type: ignore[misc, name-defined]
        def compute_loss(
            self, model: Any, inputs: dict[str, Tensor], return_outputs: bool = False, **_: Any
        ) -> Tensor | tuple[Tensor, Any]:
            labels = inputs.pop("labels")
            if return_outputs:
                outputs = model(**inputs)
                return F.cross_entropy(outputs["logits"], labels), outputs
            steps = self.state.global_step, self.state.max_steps
            return dqt.objective(model, inputs, labels, RECIPE, step=steps[0], total_steps=steps[1]).loss

    arguments = transformers.TrainingArguments(
        output_dir=str(folder), per_device_train_batch_size=8, learning_rate=2e-3, report_to=[], use_cpu=True, seed=0,
        disable_tqdm=True, remove_unused_columns=False, label_names=["labels"], logging_steps=1, **options,
    )  # fmt: skip
    made: dict[str, Any] = {"model": net, "args": arguments, "train_dataset": Pictures(), "eval_dataset": Pictures(16)}
    if every_width:
        return EveryWidth(**made)
    loss = {"compute_loss_func": lambda outputs, labels, **_: F.cross_entropy(outputs["logits"], labels)}
    return transformers.Trainer(**made, **loss)


def prepared_vit() -> Net:
    pixels = Pictures().pixels
    net = dqt.prepare(vit(), {"pixel_values": pixels[:2]}, dqt.Config(widths=(2, 4, 8)))
    return dqt.calibrate(net, [{"pixel_values": pixels}]).train()


@pytest.mark.parametrize("every_width", [False, True])
def test_hugging_faces_trainer_with_a_small_vit(every_width: bool, tmp_path: Path) -> None:
    net = prepared_vit()
    trainer = hugging_face_trainer(net, tmp_path, every_width=every_width, num_train_epochs=3, save_strategy="epoch")
    before = trainer.evaluate()["eval_loss"]
    trainer.train()
    assert trainer.evaluate()["eval_loss"] < before
    pixels = Pictures(16).pixels
    predicted = trainer.predict(Pictures(16))
    with torch.no_grad():
        expected = net.eval()(pixel_values=pixels)["logits"]
    np.testing.assert_allclose(predicted.predictions, expected.numpy(), rtol=1e-5, atol=1e-5)
    assert (tmp_path / "checkpoint-18" / "model.safetensors").exists()
    exact_everywhere(net, {"pixel_values": pixels})


def test_hugging_faces_checkpoint_goes_on_where_it_stopped(tmp_path: Path) -> None:
    def trained(folder: str, steps: int, *, resume: bool = False) -> dict[str, Tensor]:
        options = {"save_steps": 2, "max_steps": steps, "lr_scheduler_type": "constant"}
        net = prepared_vit()
        trainer = hugging_face_trainer(net, tmp_path / folder, every_width=False, **options)
        trainer.train(resume_from_checkpoint=resume)
        return net.state_dict()

    trained("half", 2)
    resumed, again = trained("half", 4, resume=True), trained("whole", 4)
    assert all(torch.equal(value, again[name]) for name, value in resumed.items())


# calls by name


def test_calls_by_name() -> None:
    net, x = tiny_net(), tiny_data()[0]
    net.eval()
    names = {name for name, place in net.inputs.aliases.items() if place == 0}
    with torch.no_grad():
        expected = net(x, 2)
        for name in names - {"x"}:
            assert torch.equal(net(plan=2, **{name: x}), expected)
        assert torch.equal(net(x=x, plan=2), expected)
    with pytest.raises(dqt.InputError, match="no input: this network takes"):
        net()
    with pytest.raises(dqt.InputError, match="'input' by position and by name: this network takes 'input'"):
        net(x, input=x)
    with pytest.raises(dqt.InputError, match="unknown input 'other': this network takes 'input'"):
        net(x, other=x)
    with pytest.raises(dqt.InputError, match="two plans: 2 behind the inputs and plan=4"):
        net(x, 2, plan=4)


class Sum(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 3), nn.Linear(5, 3)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        total: Tensor = self.a(x) + self.b(y)
        return total


def test_several_inputs_by_name() -> None:
    x, y = torch.randn(6, 4), torch.randn(6, 5)
    net = dqt.prepare(Sum().eval(), (x, y))
    expected = net({"x": x, "y": y}, 4)
    assert torch.equal(net(x=x, y=y, plan=4), expected)
    for given in (((x, y),), (x, y)):
        assert torch.equal(net(*given, 4), expected)
        assert torch.equal(net(*given, plan=4), expected)
        assert torch.equal(net(*given, 4, exact=True), net({"x": x, "y": y}, 4, exact=True))
    assert torch.equal(net(x, y=y, plan=4), expected)
    assert torch.equal(net(x, y), net((x, y)))
    assert torch.equal(net(x, y, None), net((x, y)))
    with pytest.raises(dqt.InputError, match="'x' by position and by name: this network takes 'x', 'y'"):
        net(x, x=x, y=y)
    assert torch.equal(net(y=y, x=x, plan=4, exact=True), net((x, y), 4, exact=True))
