"""What capture makes of awkward models: in-place changes, names, and everything that must be refused with words."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dqt.lower.emit import lower
from dqt.nn.config import Config, Controller
from dqt.nn.errors import UnsupportedError
from dqt.nn.net import Net
from dqt.nn.prepare import prepare
from dqt.nn.run import Run
from dqt.program.program import Program
from dqt.testing.networks import Model, conv, ready, unsettle


def served(model: nn.Module, shape: tuple[int, ...] = (4, 6, 6), tmp: Any = None) -> Net:
    """The prepared network, after its float form, its integers and its file have been compared."""
    net, x = ready(model, shape, widths=(2, 4, 8))
    with torch.no_grad():
        expected = model.eval()(x.clone())
        torch.testing.assert_close(net._run(x, Run({}, quantized=False), False), expected, rtol=1e-4, atol=1e-5)
    program = lower(net)
    np.testing.assert_array_equal(program(x, 4), net(x, 4, exact=True).numpy())
    if tmp is not None:
        program.save(tmp / "net.dqt")
        np.testing.assert_array_equal(Program.load(tmp / "net.dqt")(x, 4), net(x, 4, exact=True).numpy())
    return net


# in place


def clone_then_relu(m: Any, x: Tensor) -> Tensor:
    y = m.a(x)
    z = y.clone()
    F.relu_(y)
    return m.b(z + y)


def relu_then_clone(m: Any, x: Tensor) -> Tensor:
    y = m.a(x)
    F.relu_(y)
    return m.b(y.clone() + y)


def read_before_and_after(m: Any, x: Tensor) -> Tensor:
    y = m.a(x)
    z = y + x
    F.relu_(y)
    return m.b(z + y)


def residual(m: Any, x: Tensor) -> Tensor:
    x = m.a(x)
    kept = x
    x = m.b(x)
    x += kept
    return F.relu_(x) + kept


def alias_grows(m: Any, x: Tensor) -> Tensor:
    """Both names are one tensor: the sum counts the increment twice."""
    x = m.a(x)
    y = x
    y += m.b(x)
    return m.b2(x + y)


def twice(m: Any, x: Tensor) -> Tensor:
    y = m.a(x)
    y += y
    y *= y
    return m.b(y)


def input_changes(m: Any, x: Tensor) -> Tensor:
    F.relu_(x)
    return m.a(x) + m.b(x)


def view_last_read(m: Any, x: Tensor) -> Tensor:
    y = m.a(x).flatten(1)
    return m.fc(F.relu_(y))


def unused_change(m: Any, x: Tensor) -> Tensor:
    y = m.a(x)
    z = m.b(y)
    F.relu_(y)
    return z


def dropped(m: Any, x: Tensor) -> Tensor:
    return m.b(F.relu_(F.dropout(m.a(x), 0.3, m.training)))


IN_PLACE = [
    clone_then_relu, relu_then_clone, read_before_and_after, residual, alias_grows, twice, input_changes,
    view_last_read, unused_change, dropped,
]  # fmt: skip


@pytest.mark.parametrize("function", IN_PLACE)
def test_in_place(function: Callable[[Any, Tensor], Tensor]) -> None:
    torch.manual_seed(0)
    served(Model(function, a=conv(), b=conv(), b2=conv(), fc=nn.Linear(144, 3)))


def view_read_after(m: Any, x: Tensor) -> Tensor:
    y = m.a(x)
    v = y.flatten(1)
    F.relu_(y)
    return m.fc(v)


def base_read_after(m: Any, x: Tensor) -> Tensor:
    y = m.a(x)
    F.relu_(y[:, :2])
    return m.b(y)


def view_of_view(m: Any, x: Tensor) -> Tensor:
    y = m.a(x)
    v = y[:, :3].flatten(1)[:, :72].reshape(-1, 2, 6, 6)
    y += x
    return torch.cat([m.b(y), m.c(v)], 1)


@pytest.mark.parametrize("function", [view_read_after, base_read_after, view_of_view])
def test_views_changed_in_place(function: Callable[[Any, Tensor], Tensor]) -> None:
    model = Model(function, a=conv(), b=conv(), c=conv(2), fc=nn.Linear(144, 3)).eval()
    net, x = ready(model, (4, 6, 6))
    with torch.no_grad():
        torch.testing.assert_close(net._run(x, Run({}, quantized=False), False), model(x), rtol=1e-4, atol=1e-5)


# names


class Root(nn.Module):
    """A weight and statistics of its own, and a child with the name that they would get."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 4, 3, 3) / 6)
        self.running_mean, self.running_var = nn.Buffer(torch.randn(4)), nn.Buffer(torch.rand(4) + 0.5)
        self.model = conv()

    def forward(self, x: Tensor) -> Tensor:
        x = F.batch_norm(F.conv2d(x, self.weight, padding=1), self.running_mean, self.running_var)
        result: Tensor = self.model(x)
        return result


class Parent(nn.Module):
    """A weight beside children, one of which is used first."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 4, 3, 3) / 6)
        self.norm = nn.BatchNorm2d(4)
        unsettle(self)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(torch.sigmoid(self.norm(torch.tanh(x))), self.weight, padding=1)


def named(*names: str) -> nn.Module:
    def forward(m: Any, x: Tensor) -> Tensor:
        for i, name in enumerate(names):
            x = m._modules[f"then {i}"](m._modules[name](x))
        return x

    then: dict[str, nn.Module] = {f"then {i}": nn.Sigmoid() for i in range(len(names))}
    return Model(forward, **{name: conv() for name in names}, **then)


def test_a_weight_of_the_model_itself_stays_apart_from_its_children() -> None:
    net = served(Root())
    assert set(net.layers) == {"model", "model_"}
    net = served(nn.Sequential(conv(), Parent(), conv()))
    assert net.layers == ("0", "1", "2")
    assert {"1.weight", "1.norm.running_mean"} <= set(net.state_dict())


@pytest.mark.parametrize(
    "names",
    [
        ("input", "layers", "steps", "config"),  # a value's name, and attributes of Net
        ("keys", "values", "pop", "items"),  # methods of ModuleDict, where quantizers live
        ("a b", "größe", "x/y", "x~1y", "x~y"),  # odd characters
        ("ready", "space", "shapes", "owners"),  # a buffer of Net
    ],
)
def test_module_names_that_mean_something_to_the_library(names: tuple[str, ...], tmp_path: Any) -> None:
    net = served(named(*names), tmp=tmp_path)
    assert net.layers == names
    copy = prepare(named(*names), torch.randn(2, 4, 6, 6), net.config)
    copy.load_state_dict(net.state_dict())
    x = torch.randn(2, 4, 6, 6)
    assert torch.equal(copy.eval()(x, 4, exact=True), net(x, 4, exact=True))


def test_values_of_a_program_have_names_of_their_own() -> None:
    """``input.codes`` and ``cat.0`` are names that lowering makes; here a user has them too."""

    def forward(m: Any, x: Tensor) -> Tensor:
        inner = m.input.codes(x)
        return torch.cat([getattr(m.cat, "0")(inner), inner], 1)

    inner, parts = nn.Module(), nn.Module()
    inner.add_module("codes", conv())
    parts.add_module("0", conv())
    served(Model(forward, input=inner, cat=parts))


@pytest.mark.parametrize("name", ["quantizers", "controller"])
def test_names_that_are_taken(name: str) -> None:
    with pytest.raises(UnsupportedError, match=f"submodule named '{name}'.*rename it"):
        prepare(nn.Sequential(OrderedDict([(name, conv())])), torch.randn(2, 4, 6, 6))


# what must be refused, in words


def branch(m: Any, x: Tensor) -> Tensor:
    return m.a(x) if x.sum() > 0 else m.b(x)


def fixed_batch(m: Any, x: Tensor) -> Tensor:
    return m.fc(m.a(x).reshape(2, 144))


def other_way(m: Any, x: Tensor) -> Tensor:
    return m.fc(m.a(x).flatten(1).reshape(-1, 144)).reshape(2, 3)


REFUSED: dict[str, tuple[Callable[[Any, Tensor], Any], str]] = {
    "operator": (lambda m, x: m.b(torch.sort(m.a(x))[0]), r"aten\.sort\.default in the model's forward is not among"),
    "nested": (lambda m, x: m.deep(x), r"aten\.cumprod\.default in deep\.1 .*At .*`return torch\.cumprod"),
    "constant": (lambda m, x: m.b(torch.fmod(m.a(x), torch.ones(4, 1, 1))), r"aten\.fmod\.Tensor"),
    "constants joined": (lambda m, x: torch.cat([m.a(x), torch.ones(len(x), 3, 6, 6)]), "constant|batch"),
    "alpha": (lambda m, x: m.b(torch.rsub(m.a(x), x, alpha=2)), "scales an operand"),
    "branch on data": (branch, "control flow depends on its data"),
    "batch in a shape": (fixed_batch, "does not accept every batch size"),
    "batch at the end": (other_way, "does not accept every batch size"),
    "batch merged": (
        lambda m, x: m.one(m.a(x).reshape(-1, 6)),
        r"returns a tensor of shape \(24\*N, 3\).*the batch, alone",
    ),
    "batch in the middle": (lambda m, x: m.a(x).transpose(0, 1), r"returns a tensor of shape \(4, N, 6, 6\)"),
    "batch mixed": (
        lambda m, x: m.fc(m.a(x).transpose(0, 1).reshape(-1, 144)),
        "does not accept every batch|mixes the samples of the batch",
    ),
    "batch reduced": (lambda m, x: m.b(m.a(x).amax(0, keepdim=True)), "reduces over the batch"),
    "batch sliced": (lambda m, x: m.a(x)[1:], "slices the batch|batch"),
    "batch joined": (lambda m, x: torch.cat([m.a(x), x]), "the batch|batch size"),
    "nothing": (lambda _, x: x, "no convolution and no linear layer"),
    "no tensor": (lambda m, x: m.a(x).shape[0], "returns a size of its input"),
    "an object": (lambda m, x: torch.distributions.Bernoulli(logits=m.a(x)), "an object of type Bernoulli"),
    "a parameter, too": (lambda m, x: (m.a(x), m.b.weight), "output '1' does not depend on the input"),
    "no layer": (lambda _, x: torch.relu(x), "no convolution and no linear layer"),
    "rolled batch": (lambda m, x: m.a(x).roll(1, 0), "moves elements from one sample of the batch to another"),
    "padding of no number": (lambda m, x: m.a(F.pad(x, (1, 1), value=-torch.inf)), "only finite numbers can be added"),
    "batch mean": (lambda m, x: m.a(x) - m.a(x).mean(0, keepdim=True), "reduces over the batch"),
    "batch statistics": (lambda m, x: F.batch_norm(m.a(x), None, None, training=True), "no running statistics"),
}


class RunningProduct(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cumprod(x, 1)


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str) -> None:
    function, message = REFUSED[case]
    modules = {"a": conv(), "b": conv(), "fc": nn.Linear(144, 3), "one": nn.Linear(6, 3)}
    model = Model(function, **modules, deep=nn.Sequential(conv(), RunningProduct()))
    with pytest.raises(UnsupportedError, match=message) as caught:
        prepare(model, torch.randn(2, 4, 6, 6))
    assert len(str(caught.value)) < 900


class Block(nn.Module):
    """Two operators that no program has, and one that the batch forbids."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = conv()

    def forward(self, x: Tensor) -> Tensor:
        x = torch.digamma(self.conv(x))
        return torch.lgamma(x).relu()


def test_all_obstacles_are_one_error() -> None:
    """Each once, with the first place and the others; what only follows from one is none of its own."""

    def forward(m: Any, x: Tensor) -> Tensor:
        x = m.c(m.b(m.a(x)))
        y: Tensor = torch.special.i0(m.d(x.sort(0)[0]))
        return y

    with pytest.raises(UnsupportedError) as caught:
        prepare(Model(forward, a=Block(), b=Block(), c=Block(), d=conv()), torch.randn(2, 4, 6, 6))
    lines = str(caught.value).splitlines()
    assert lines[0] == "4 obstacles in the model:"
    assert lines[1].startswith("- aten.digamma.default in a is not among the operators that can be quantized. At ")
    assert lines[1].endswith("(Also in b, c.)")
    assert [line.split()[1] for line in lines[1:-1]] == [
        "aten.digamma.default", "aten.lgamma.default", "aten.sort.default", "aten.special_i0.default",
    ]  # fmt: skip
    assert lines[-1].startswith("Replace it by supported operators (docs/guide/your-model.md lists them)")
    found = [(each.operator, each.module) for each in caught.value.obstacles]
    assert found[:2] == [("aten.digamma.default", "a"), ("aten.lgamma.default", "a")]
    assert len(found) == 3 * 2 + 2
    assert all("test_capture.py" in each.line and "your-model.md" in each.advice for each in caught.value.obstacles)


class Two(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y


@pytest.mark.parametrize(
    ("example", "message"),
    [
        (torch.zeros(2, 4, 6, 6, dtype=torch.int64), "need floats"),
        (torch.zeros(0, 4, 6, 6), "are empty"),
        (torch.zeros(4), "no batch dimension"),
        (torch.full((2, 4, 6, 6), float("nan")), "NaN or infinity"),
        (torch.full((2, 4, 6, 6), float("inf")), "NaN or infinity"),
        ((torch.zeros(2, 4, 6, 6), torch.zeros(2, 4, 6, 6)), r"are 2 values, and the model's forward takes \(input"),
        ("picture.png", "one float tensor"),
        (torch.zeros(2, 3, 6, 6), "cannot capture the model"),  # channels
    ],
)
def test_example_inputs_that_cannot_be(example: Any, message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        prepare(conv(), example)


def test_a_model_of_two_inputs() -> None:
    with pytest.raises(UnsupportedError, match=r"cannot capture.*y"):
        prepare(Two(), torch.randn(2, 4))
    with pytest.raises(UnsupportedError, match=r"name 'x', 'z', and the model's forward takes \(x, y\)"):
        prepare(Two(), {"x": torch.randn(2, 4), "z": torch.randn(2, 4)})


def test_a_controller_with_nothing_to_choose() -> None:
    with pytest.raises(UnsupportedError, match="nothing to choose"):
        prepare(nn.Sequential(conv(), conv()), torch.randn(2, 4, 6, 6), Config(controller=Controller()))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_model_in_another_precision_trains_in_float32(dtype: torch.dtype) -> None:
    model = nn.Sequential(conv(), nn.BatchNorm2d(4), nn.ReLU(), conv()).to(dtype)
    net = prepare(model, torch.randn(2, 4, 6, 6, dtype=dtype))
    assert {p.dtype for p in net.parameters()} == {torch.float32}
    assert net(torch.randn(2, 4, 6, 6, dtype=dtype), 4).dtype == torch.float32


def test_an_average_that_is_cumulative_keeps_moving() -> None:
    model = nn.Sequential(conv(), nn.BatchNorm2d(4, momentum=None), nn.ReLU(), conv())
    net = prepare(model, torch.randn(2, 4, 6, 6)).train()
    norm = net.norm("1")
    assert norm is not None
    before = norm.running_mean.clone()
    net(torch.randn(2, 4, 6, 6))
    assert not torch.equal(before, norm.running_mean)
