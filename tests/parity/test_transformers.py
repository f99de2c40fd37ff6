"""Transformers as they are written: captured, calibrated, and served as they are computed, on integers alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from torch import Tensor, nn

import dqt
from dqt.lower.emit import lower
from dqt.nn.calibrate import run_calibration
from dqt.nn.run import Run
from dqt.runtime.runtime import kernel_sets
from dqt.testing.networks import ready
from dqt.testing.zoo import torchvision
from tests.parity.build import train_step


class Tokens(nn.Module):
    """Tokens and their positions to class scores, by two encoder layers that see what came before."""

    def __init__(self, vocabulary: int = 50, features: int = 16) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(vocabulary, features), nn.Embedding(12, features)
        layer = nn.TransformerEncoderLayer(features, 2, 32, 0.0, "gelu", batch_first=True, norm_first=True)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.norm, self.head = nn.RMSNorm(features), nn.Linear(features, 5)

    def forward(self, tokens: Tensor) -> Tensor:
        y = self.words(tokens) + self.places(torch.arange(tokens.shape[1]))
        mask = nn.Transformer.generate_square_subsequent_mask(tokens.shape[1])
        scores: Tensor = self.head(self.norm(self.body(y, mask=mask, is_causal=True)).mean(1))
        return scores


def vit() -> nn.Module:
    return torchvision().models.VisionTransformer(32, 8, 2, 2, 32, 64, num_classes=5)


def swin() -> nn.Module:
    return torchvision().models.SwinTransformer([4, 4], 16, [2, 2], [2, 4], [4, 4], num_classes=5)


def convnext() -> nn.Module:
    setting = torchvision().models.convnext.CNBlockConfig
    return torchvision().models.ConvNeXt([setting(16, 32, 1), setting(32, None, 1)], num_classes=5, layer_scale=0.5)


IMAGES: dict[str, Callable[[], nn.Module]] = {"ViT": vit, "Swin": swin, "ConvNeXt": convnext}


def served(net: Any, x: Tensor, expected: Tensor, error: float) -> None:
    """Interpreter, torch and engine agree; 8 bits are near the float model."""
    program = lower(net)
    for plan in (2, 8):
        wanted = program(x, plan)
        assert_array_equal(net(x, plan, exact=True).numpy(), wanted)
        for isa in kernel_sets():
            assert_array_equal(dqt.Runtime(program, isa=isa)(x.numpy(), plan), wanted)
    trained = [train_step(net, x, 8, dtype) for dtype in (None, torch.bfloat16, torch.float16)]
    for y in (torch.from_numpy(np.asarray(program(x, 8))), *trained):
        assert float((y - expected).norm() / expected.norm()) < error


@pytest.mark.parametrize("name", IMAGES)
def test_images(name: str) -> None:
    torch.manual_seed(0)
    model = IMAGES[name]().eval()
    for part in model.modules():
        if isinstance(part, nn.Linear) and not part.weight.any():  # a head that starts at zero says nothing
            nn.init.normal_(part.weight)
    net, x = ready(model, (3, 32, 32), widths=(2, 8))
    run_calibration(net, [x], ranges="per_width")
    with torch.no_grad():
        expected = model(x)
    torch.testing.assert_close(net._run(x, Run({}, quantized=False), False), expected, rtol=1e-3, atol=1e-4)
    served(net, x, expected, 0.25)


def test_tokens() -> None:
    torch.manual_seed(0)
    model, x = Tokens().eval(), torch.randint(50, (6, 12))
    net = dqt.prepare(model, x, dqt.Config(widths=(2, 8))).eval()
    run_calibration(net, [x])  # without its warnings: random weights are not a healthy network
    with torch.no_grad():
        expected = model(x)
    torch.testing.assert_close(net._run(x, Run({}, quantized=False), False), expected, rtol=1e-3, atol=1e-4)
    served(net, x, expected, 0.25)


def test_autocast_changes_no_evaluation_and_no_calibration() -> None:
    torch.manual_seed(0)
    net, x = ready(convnext().eval(), (3, 32, 32), widths=(2, 8))
    with torch.no_grad():
        expected, clips = net(x, 2), net.clips()
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(net(x, 2), expected)
            run_calibration(net, [x, x[:2]])
    assert all(torch.equal(clip, clips[name]) for name, clip in net.clips().items())
    with torch.no_grad():
        assert torch.equal(net(x, 2), expected)


def test_nothing_is_a_float_between_input_and_output() -> None:
    torch.manual_seed(0)
    net, _ = ready(vit().eval(), (3, 32, 32), widths=(2, 8))
    program = lower(net)
    assert {type(op).__name__ for op in program.ops} >= {"MatMul", "Softmax", "Normalize"}
    assert [type(op).__name__ for op in program.ops].count("Quantize") == 1
    floats = [
        (type(op).__name__, name)
        for op in program.ops
        for name, held in vars(op).items()
        if isinstance(held, float) or (isinstance(held, np.ndarray) and held.dtype.kind == "f")
    ]
    assert {name for name, _ in floats} <= {"Quantize", "Dequantize"}
