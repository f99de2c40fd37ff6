"""From a network to a program: what is refused, and what is in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import dqt
from dqt.lower.emit import lower
from dqt.nn.errors import CalibrationError
from dqt.nn.prepare import prepare
from dqt.program.ops.conv import Conv
from dqt.program.ops.linear import Linear
from dqt.program.program import Program, ProgramError
from dqt.testing.networks import conv, ready, small, with_controller


def test_ranges_must_come_from_data() -> None:
    net = prepare(small(), torch.randn(2, 3, 8, 8))
    with pytest.raises(CalibrationError, match=r"run dqt\.calibrate"):
        lower(net)


def test_a_layer_whose_sums_cannot_be_proved_names_itself() -> None:
    layer = nn.Linear(1 << 18, 1, bias=False)
    nn.init.ones_(layer.weight)  # 262,144 taps of 127 against codes up to 128
    net, _ = ready(nn.Sequential(layer), (1 << 18,), widths=(8,))
    with pytest.raises(ProgramError, match=r"'0'.*at 8 bits the accumulator of channel 0 reaches .*beyond int32"):
        lower(net)


def test_a_program_is_frozen_and_the_network_goes_on() -> None:
    net, x = ready(small(), (3, 8, 8))
    program = lower(net)
    expected = program(x, 4)
    weights = [op.weight for op in program.ops if isinstance(op, Conv | Linear)]
    assert all(not w.flags.writeable for w in weights)
    with torch.no_grad():
        net.layer("0").weight.mul_(2)
    net.train()(x, 4)
    np.testing.assert_array_equal(program(x, 4), expected)
    assert not np.array_equal(net.eval()(x, 4, exact=True).numpy(), expected)


def test_lowering_twice_gives_one_program(tmp_path: Path) -> None:
    net, _ = ready(small(), (3, 8, 8), **with_controller())
    for name in ("a", "b"):
        lower(net, info={"data": "random"}).save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert Program.load(tmp_path / "a").info == {"data": "random"}


def test_what_a_residual_network_becomes() -> None:
    net, _ = ready(small(), (3, 8, 8))
    kinds = [type(op).__name__ for op in lower(net).ops]
    assert kinds == ["Quantize", "Conv", "Conv", "Add", "Conv", "AvgPool", "Reshape", "Linear", "Dequantize"]
    assert lower(net).layers == net.layers == ("0", "3.conv", "4", "8")


def test_what_a_controller_adds() -> None:
    net, x = ready(small(), (3, 8, 8), **with_controller())
    program = lower(net)
    assert program.choose is not None
    assert program.choose.layers == ("3.conv", "4")
    assert [layer.name for layer in program.space.controller] == ["controller.hidden", "controller.logits"]
    assert sum(layer.weights for layer in program.space.controller) < sum(p.numel() for p in net.parameters())
    assert program(x, "auto").shape == (6, 5)


def test_one_row_of_constants_where_widths_agree() -> None:
    """Shared batch norm and no bias correction: every width has the same scale and bias."""
    model = nn.Sequential(conv(3, 4, bias=False), nn.BatchNorm2d(4), nn.ReLU(), conv(4, 2, bias=False))
    x = torch.randn(2, 3, 6, 6)
    net = dqt.calibrate(prepare(model, x, dqt.Config(norm="shared")), [x], correct_bias=False)
    layers = [op for op in lower(net).ops if isinstance(op, Conv)]
    assert [len(op.m) for op in layers] == [1, 1]
    dqt.calibrate(net, [x])
    layers = [op for op in lower(net).ops if isinstance(op, Conv)]
    assert [len(op.c) for op in layers] == [19, 19]  # 7 widths, and 6 pairs with 8 bits on either side
    dqt.calibrate(net, [x], unlike_widths=False)
    layers = [op for op in lower(net).ops if isinstance(op, Conv)]
    assert [len(op.c) for op in layers] == [7, 7]


def test_the_public_name_is_the_function() -> None:
    net, x = ready(small(), (3, 8, 8))
    np.testing.assert_array_equal(dqt.interpret(dqt.lower(net), x, 2), lower(net)(x, 2))


def test_info_that_is_no_mapping_is_one_clear_error() -> None:
    net, _ = ready(nn.Sequential(nn.Flatten(), nn.Linear(4, 3)).eval(), (4,))
    with pytest.raises(ProgramError, match="info is a value of type str"):
        lower(net, info="digits")  # type: ignore[arg-type]
