"""What users do with a module, done to a prepared network: hooks, casts, modes, paths, structures."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from dqt.arith.errors import InputError
from dqt.lower.emit import lower
from dqt.nn.calibrate import calibrate
from dqt.nn.errors import HookWarning, UnsupportedError
from dqt.nn.net import Net
from dqt.testing.networks import Model, ready, unsettle, with_controller


def small(**options: Any) -> tuple[Net, Tensor]:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 1), nn.ReLU())
    model = nn.Sequential(body, nn.Flatten(), nn.Linear(36, 3))
    unsettle(model)
    return ready(model.eval(), (2, 5, 5), **options)


# hooks


def record(seen: list[Any]) -> Callable[..., None]:
    return lambda *call: seen.append(call[1:])


@pytest.mark.parametrize("training", [False, True])
def test_hooks_get_what_the_layer_reads_and_gives(training: bool) -> None:
    """A layer's own product, before the norm that is folded into it, and the norm's result, both real."""
    net, x = small()
    seen: dict[str, list[Any]] = {name: [] for name in ("0.0", "0.1", "2")}
    want = net(x, 4)
    for name, each in seen.items():
        net.get_submodule(name).register_forward_hook(record(each))
    net.train(training)
    got = net(x, 4)
    (conv,), (norm,), (last,) = seen.values()
    assert conv[0][0].shape == x.shape
    assert conv[1].shape == norm[0][0].shape == norm[1].shape == (6, 4, 3, 3)
    torch.testing.assert_close(norm[0][0], conv[1])
    assert len(norm[0]) == len(conv[0]) == 1
    torch.testing.assert_close(last[1], got)
    assert all(t.dtype == torch.float32 for t in (conv[0][0], conv[1], norm[1], last[1]))
    if not training:
        torch.testing.assert_close(got, want)


def test_hooks_run_in_every_pass() -> None:
    net, x = small(**with_controller())
    calls: list[str] = []
    for name in net.layers:
        net.get_submodule(name).register_forward_hook(lambda *_, name=name: calls.append(name))
    net(x), net(x, 2), net(x, dict.fromkeys(net.layers, (3, 4)))
    assert calls == [*net.layers] * 3
    calls.clear()
    net(x, "auto")
    assert set(calls) == set(net.layers)
    calls.clear()
    calibrate(net, [x])
    assert set(calls) == set(net.layers)


def test_hooks_may_change_values() -> None:
    net, x = small()
    plain = net(x)
    handle = net.get_submodule("2").register_forward_hook(lambda *call: call[2] * 2)
    torch.testing.assert_close(net(x), plain * 2)
    handle.remove()
    handle = net.get_submodule("2").register_forward_pre_hook(lambda *call: (torch.zeros_like(call[1][0]),))
    assert torch.equal(net(x)[0], net(x)[1])
    handle.remove()
    assert torch.equal(net(x), plain)


def test_gradients_flow_through_what_a_hook_saw() -> None:
    """Grad-CAM: the activation of a layer and its gradient."""
    net, x = small()
    seen: list[Any] = []
    gradients: list[Any] = []
    net.get_submodule("0.3").register_forward_hook(record(seen))
    net.get_submodule("0.3").register_full_backward_hook(lambda *call: gradients.append(call[2][0]))
    y = net(x)
    seen[0][1].retain_grad()
    y[:, 0].sum().backward()
    assert bool(seen[0][1].grad.any())
    assert torch.equal(gradients[0], seen[0][1].grad)


def test_a_hook_that_cannot_run_is_refused() -> None:
    net, _ = small()
    for module in (net.get_submodule("0"), net.quantizer_of("input")):
        with pytest.raises(InputError, match=r"register the hook on net\.get_submodule"):
            module.register_forward_hook(print)
        with pytest.raises(InputError, match=r"register the hook on net\.get_submodule"):
            module.register_forward_pre_hook(print)


def test_an_exact_pass_says_that_hooks_do_not_run() -> None:
    net, x = small()
    net.register_forward_hook(lambda *_: None)
    net(x, exact=True)
    net.get_submodule("0.1").register_forward_hook(lambda *_: None)
    with pytest.warns(HookWarning, match=r"hooks on 0\.1 do not run in an exact pass"):
        net(x, exact=True)


def test_a_module_named_as_a_method_is_found() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tensor, self.norm, self.layer = nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.layer(self.norm(self.tensor(x)).relu())
            return y

    net, x = ready(Named().eval(), (4,))
    for name in net.layers:
        assert net.get_submodule(name) is net.layer(name)
    assert net.get_submodule("norm") is net.norm("norm")
    assert net.get_submodule("") is net
    with pytest.raises(AttributeError, match="nothing"):
        net.get_submodule("nothing")
    np.testing.assert_array_equal(lower(net)(x), net(x, exact=True).numpy())


# casts


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_a_cast_changes_the_output_alone(dtype: torch.dtype) -> None:
    net, x = small()
    before, exact = net(x, 4), net(x, 4, exact=True)
    program = lower(net)(x, 4)
    for cast in (net.to(dtype), nn.Sequential(net).type(dtype)[0]):
        assert torch.equal(cast(x, 4), before.to(dtype))
        assert torch.equal(cast(x, 4, exact=True), exact.to(dtype))
        np.testing.assert_array_equal(lower(net)(x, 4), program)
        assert all(p.dtype == torch.float32 for p in net.parameters())
    assert torch.equal(net.to("cpu")(x.to(dtype), 4).float(), net(x.to(dtype), 4).float())
    assert net(x).dtype == dtype
    assert torch.equal(net.float()(x, 4), before)


def test_casts_by_name() -> None:
    net, x = small()
    assert net.half()(x).dtype == torch.float16
    assert net.bfloat16()(x).dtype == torch.bfloat16
    assert net.double()(x).dtype == torch.float64
    assert copy.deepcopy(net)(x).dtype == pickle.loads(pickle.dumps(net))(x).dtype == torch.float64
    assert net.to(torch.float32)(x).dtype == torch.float32
    with pytest.raises(InputError, match=r"its output cannot become torch\.float8_e5m2"):
        net.to(torch.float8_e5m2)


def test_a_layer_that_was_cast_alone_is_named() -> None:
    net, x = small()
    net.get_submodule("2").half()
    with pytest.raises(UnsupportedError, match=r"2\.weight is torch\.float16"):
        net(x, exact=True)
    net.get_submodule("2").float()
    assert net(x, exact=True).shape == (6, 3)


# structures


class Pair(NamedTuple):
    logits: Tensor
    other: Any = None


@dataclass
class Output:
    logits: Tensor
    loss: Tensor | None = None


pytree.register_dataclass(Output)
STRUCTURES: dict[str, Callable[[Tensor], Any]] = {
    "dict": lambda y: {"logits": y},
    "deep": lambda y: {"out": [y], "none": None, "number": 3},
    "list": lambda y: [y],
    "tuple": lambda y: (y,),
    "named": Pair,
    "data class": Output,
}


@pytest.mark.parametrize("name", STRUCTURES)
def test_the_structure_of_the_output_stays(name: str) -> None:
    make = STRUCTURES[name]
    model = Model(lambda m, x: make(m.fc(x)), fc=nn.Linear(4, 3)).eval()
    net, x = ready(model, (4,))
    for made in (net, copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        for exact in (False, True):
            got, want = made(x, 4, exact=exact), model(x)
            assert type(got) is type(want)
            leaves, spec = pytree.tree_flatten(got)
            expected, wanted = pytree.tree_flatten(want)
            assert spec == wanted
            assert [type(leaf) for leaf in leaves] == [type(leaf) for leaf in expected]
            (tensor,) = (leaf for leaf in leaves if isinstance(leaf, Tensor))
            assert torch.equal(tensor, made.tensor(x, 4, exact=exact))
    np.testing.assert_array_equal(lower(net)(x, 4), net.tensor(x, 4, exact=True).numpy())
