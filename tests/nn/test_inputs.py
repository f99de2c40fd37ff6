"""Networks with several inputs and outputs: their names, the forms of a call, and what does not fit."""

from __future__ import annotations

import copy
import pickle
from collections import OrderedDict, UserDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from dqt.arith.bounds import INT32
from dqt.arith.errors import InputError
from dqt.nn.calibrate import calibrate
from dqt.nn.config import Config, Controller
from dqt.nn.errors import UnsupportedError
from dqt.nn.net import Net
from dqt.nn.prepare import prepare
from dqt.nn.run import Run
from dqt.nn.structure import leaves
from dqt.testing.networks import Model


class Pair(nn.Module):
    """An image and features, in two branches that meet; ``give`` makes the result of scores and features."""

    def __init__(self, give: Callable[[Tensor, Tensor], Any] = lambda y, _: y) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.deep = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.dense, self.head = nn.Linear(5, 4), nn.Linear(4, 3)
        self.give = give

    def forward(self, image: Tensor, features: Tensor, scale: Any = None) -> Any:
        pooled = self.deep(self.conv(image).relu()).relu().mean((2, 3))
        joined = pooled + self.dense(features)
        return self.give(self.head(joined), joined)


def data(count: int = 6) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(1)
    return torch.randn(count, 1, 8, 8, generator=rng), torch.randn(count, 5, generator=rng)


def float_run(net: Net, x: Any) -> list[Tensor]:
    return list(net.run(x, Run({}, quantized=False), False))


# inputs


def test_every_form_of_a_call() -> None:
    image, features = data()
    net = prepare(Pair().eval(), (image, features)).eval()
    assert net.inputs.names == ("image", "features")
    assert {"image", "features"} <= set(net.quantizers)
    expected = net((image, features), 4)
    for form in ({"features": features, "image": image}, [image, features], UserDict(image=image, features=features)):
        assert torch.equal(net(form, 4), expected)
    torch.testing.assert_close(float_run(net, (image, features))[0], Pair()(image, features))


def test_by_name_and_what_stands_beside_the_tensors() -> None:
    image, features = data()
    net = prepare(Pair().eval(), {"features": features, "scale": None, "image": image}).eval()
    assert net.inputs.names == ("image", "features")  # in the order of forward
    x = {"image": image, "features": features}
    assert torch.equal(net(x), net({**x, "scale": None}))
    with pytest.raises(InputError, match="scale is 2: the network was prepared with None"):
        net({**x, "scale": 2})


a, b = torch.randn(4, 3), torch.randn(4, 3)


class OneDict(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 2)

    def forward(self, batch: dict[str, Any]) -> Any:
        return self.fc(batch["left"] + batch["more"]["right"])


class Around(nn.Module):
    """A function of modules and one tensor."""

    def __init__(self, function: Callable[[Any, Tensor], Any], **modules: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x: Tensor) -> Any:
        return self.function(self, x)


class Several(OneDict):
    def forward(self, *x: Tensor) -> Any:  # type: ignore[override]
        return self.fc(x[0] + x[1])


class Listed(OneDict):
    def forward(self, xs: list[Tensor], flag: bool = False) -> Any:  # type: ignore[override]
        return self.fc(xs[0] + xs[1])


@dataclass
class Both:
    left: Tensor
    right: Tensor


class OneRecord(OneDict):
    def forward(self, both: Both) -> Any:  # type: ignore[override]
        return self.fc(both.left + both.right)


@pytest.mark.parametrize(
    ("model", "given", "names"),
    [
        (OneDict(), {"left": a, "more": {"right": b}}, ("left", "more.right")),
        (Several(), (a, b), ("x.0", "x.1")),
        (Several(), (a, a), ("x.0", "x.1")),  # one tensor twice
        (Listed(), ([a, b],), ("xs.0", "xs.1")),
        (Listed(), {"xs": [a, b], "flag": True}, ("xs.0", "xs.1")),
        (OneRecord(), Both(a, b), ("left", "right")),
    ],
)
def test_structures_of_inputs(model: nn.Module, given: Any, names: tuple[str, ...]) -> None:
    net = prepare(model.eval(), given).eval()
    assert net.inputs.names == names
    left, right = (leaf for _, leaf in leaves(given) if isinstance(leaf, Tensor))
    torch.testing.assert_close(float_run(net, given)[0], model.get_submodule("fc")(left + right))
    y = net(given)
    assert torch.equal(net({names[0]: left, names[1]: right}), y)
    assert torch.equal(net((left, right)), y)


def test_an_only_input_by_name() -> None:
    net = prepare(Model(lambda m, x: m.fc(x), fc=nn.Linear(3, 2)).eval(), {"x": a}).eval()
    assert net.inputs.names == ("x",)
    assert net.input_shape == (3,)
    assert torch.equal(net(a), net({"x": a}))
    assert prepare(nn.Linear(3, 2), a).inputs.names == ("input",)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (data()[0], r"one tensor for 2 inputs: pass a dict by name \('image', 'features'\)"),
        ({"image": data()[0]}, "the input 'features' is missing: this network takes 'image', 'features'"),
        ({"image": data()[0], "pixels": data()[0]}, "unknown input 'pixels': this network takes 'image', 'features'"),
        ((data()[1], data()[0]), r"input 'image' of shape \(6, 5\): this network takes \(N, 1, 8, 8\)"),
        ((data()[0], data(4)[1]), "different numbers of samples \\('image': 6, 'features': 4\\)"),
        ((data()[0], data()[1].long()), "input 'features' of type torch.int64: need a floating-point tensor"),
        ((data()[0].numpy(), data()[1].numpy()), "input 'image' of type ndarray"),
        ((data()[0], data()[1], data()[1]), "unknown input '2'|takes"),
        ((data()[0], data()[1][0]), "it has no batch dimension"),
    ],
)
def test_calls_that_do_not_fit(x: Any, message: str) -> None:
    net = prepare(Pair(), data()).eval()
    with pytest.raises(InputError, match=message):
        net(x)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((data()[0], data(4)[1]), r"different numbers of samples \('image': 6, 'features': 4\)"),
        ((data()[0], data()[1] * torch.nan), r"example_inputs\['features'\] contain NaN"),
        ((data()[0],), "forward takes|are 1 values|cannot capture"),
        ((data()[0], data()[1], 1, 2), r"are 4 values, and the model's forward takes \(image, features, scale\)"),
        ({"image": data()[0], "pixels": data()[1]}, r"name 'image', 'pixels', and the model's forward takes"),
        ((data()[0], data()[1].numpy()), r"type ndarray; .* torch.from_numpy"),
        ((data()[0], data()[1][0, 0]), r"example_inputs\['features'\] of shape \(\) have no batch dimension"),
    ],
)
def test_examples_that_do_not_fit(given: Any, message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        prepare(Pair(), given)


def test_integers_become_codes_where_they_become_floats() -> None:
    """Counts, and a mask: the range of the first is calibrated, as that of other activations."""
    x = torch.randint(-9, 9, (8, 4), generator=torch.Generator().manual_seed(0))
    for given, limits in ((x, (-INT32, INT32)), (x > 0, (0, 1))):
        model = Model(lambda m, x: m.fc(x.float()), fc=nn.Linear(4, 2)).eval()
        net = prepare(model, given).eval()
        assert (net.inputs.each[0].lo, net.inputs.each[0].hi) == limits
        torch.testing.assert_close(float_run(net, given)[0], model(given))
        torch.testing.assert_close(net(given), model(given), rtol=0.05, atol=0.05)
    with pytest.raises(UnsupportedError, match=r"integers that (the model|it) is given"):
        prepare(Around(lambda m, x: (m.fc(x.float()), x), fc=nn.Linear(4, 2)), x)


# outputs


class Named(NamedTuple):
    scores: Any
    rest: Any


@dataclass(frozen=True)
class Record:
    logits: Any
    features: Any = None
    note: str = "n"


STRUCTURES: dict[str, tuple[Callable[[Tensor, Tensor], Any], tuple[str, ...]]] = {
    "tensor": (lambda y, _: y, ("output",)),
    "one in a tuple": (lambda y, _: (y, None), ("output",)),
    "one in a dict": (lambda y, _: {"logits": y, "loss": None}, ("logits",)),
    "tuple": (lambda y, f: (y, f), ("0", "1")),
    "dict": (lambda y, f: {"y": y, "f": f}, ("y", "f")),
    "nested": (lambda y, f: {"a": [y, {"b": f}], "n": 3, "s": "text"}, ("a.0", "a.1.b")),
    "ordered": (lambda y, f: OrderedDict(z=y, a=f), ("z", "a")),
    "named tuple": (Named, ("scores", "rest")),
    "data class": (Record, ("logits", "features")),
    "data class within": (lambda y, f: [Record(y), (True, f)], ("0.logits", "1.1")),
    "twice": (lambda y, _: (y, y), ("0", "1")),
    "tap and views": (lambda y, f: (f, f[:, None], y, y.relu()), ("0", "1", "2", "3")),
}


@pytest.mark.parametrize("name", STRUCTURES)
def test_structures_of_outputs(name: str) -> None:
    give, names = STRUCTURES[name]
    model, x = Pair(give).eval(), data()
    net = prepare(model, x).eval()
    assert tuple(output.name for output in net.outputs) == names
    expected, found = model(*x), net(x)
    assert type(found) is type(expected)
    assert [path for path, _ in leaves(found)] == [path for path, _ in leaves(expected)]
    assert [leaf for _, leaf in leaves(found) if not isinstance(leaf, Tensor)] == [
        leaf for _, leaf in leaves(expected) if not isinstance(leaf, Tensor)
    ]
    tensors = float_run(net, x)
    flat = [leaf for _, leaf in leaves(expected) if isinstance(leaf, Tensor)]
    for y, e in zip(tensors, flat, strict=True):
        torch.testing.assert_close(y, e, rtol=1e-4, atol=1e-5)


def test_an_output_that_is_an_input() -> None:
    model = Around(lambda m, x: (x, m.fc(x)), fc=nn.Linear(3, 2)).eval()
    net = prepare(model, a).eval()
    same, y = net(a)
    assert same.shape == a.shape
    assert y.shape == (4, 2)
    assert float((same - a).abs().max()) <= float(net.codes("input").scale) / 2 * 1.001  # it went through its quantizer


def test_copies_keep_structures() -> None:
    net, x = prepare(Pair(Record).eval(), data()).eval(), data()
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert torch.equal(other(x, 3).logits, net(x, 3).logits)


# what is done with them


BATCHES: dict[str, Callable[[Tensor, Tensor, Tensor], Any]] = {
    "tuple": lambda i, f, _: (i, f),
    "dict": lambda i, f, _: {"features": f, "image": i},
    "dict with labels": lambda i, f, y: {"features": f, "image": i, "labels": y},
    "pair": lambda i, f, y: ((i, f), y),
    "pair of dict": lambda i, f, y: ({"image": i, "features": f}, y),
    "three": lambda i, f, y: (i, f, y),
}


@pytest.mark.parametrize("form", BATCHES)
def test_calibration_takes_every_form_of_a_batch(form: str) -> None:
    image, features = data()
    labels = torch.arange(6) % 3
    net = prepare(Pair().eval(), data()).eval()
    calibrate(net, [BATCHES[form](image, 3 * features, labels)])
    assert net.calibrated
    twin = calibrate(prepare(Pair().eval(), data()).eval(), [(image, 3 * features)])
    assert all(torch.equal(clip, twin.clips()[name]) for name, clip in net.clips().items())
    assert float(net.clips()["features"]) > 1.5 * float(prepare(Pair().eval(), data()).clips()["features"])


def test_every_output_trains() -> None:
    net = prepare(Pair(lambda y, f: {"y": y, "f": f}), data()).train()
    found = net(data(), 3)
    (found["y"].square().sum() + found["f"].square().sum()).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name


def test_first_and_last_layers() -> None:
    """The first layer of every input and the last of every output run at the quantizer width."""
    model = Pair(lambda y, f: (y, f)).eval()
    net = prepare(model, data(), Config(edge_width=8))
    assert {layer.name for layer in net.space.layers if layer.edge} == {"conv", "dense", "head"}


def test_the_controller_reads_the_first_inputs_branch() -> None:
    """``features`` come first in the graph; the controller stands before every layer whose width it chooses."""

    class Late(Pair):
        def forward(self, image: Tensor, features: Tensor, scale: Any = None) -> Any:
            more: Any = self.more
            wide = more(self.dense(features).relu())
            y: Tensor = self.head(self.deep(self.conv(image).relu()).relu().mean((2, 3)) + wide)
            return y

    model = Late()
    model.more = nn.Linear(4, 4)
    net = prepare(model.eval(), data(), Config(controller=Controller())).eval()
    order = [node.layer or node.kind for node in net.nodes]
    assert next(node for node in net.nodes if node.controller).ins == ("conv",)
    assert order.index("choose") < min(order.index("more"), order.index("deep"))
    y, choice = net.route(data())
    assert y.shape == (6, 3)
    assert set(choice.layers) == set(net.space.chosen)


def test_one_output_where_one_is_needed() -> None:
    net = prepare(Pair(lambda y, f: (y, f)).eval(), data()).eval()
    with pytest.raises(InputError, match=r"2 outputs \('0', '1'\), where one is needed"):
        net.tensor(data())
    with pytest.raises(InputError, match=r"2 inputs \('image', 'features'\), where one is needed"):
        _ = net.input_shape
