"""What prepare does to the user's model: nothing, whatever it is wrapped in, whoever runs it meanwhile."""

from __future__ import annotations

import functools
import threading
import types
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

import dqt
from dqt.arith.errors import InputError
from dqt.lower.emit import lower
from dqt.nn.calibrate import calibrate
from dqt.nn.errors import CalibrationError, HookWarning, UnsupportedError
from dqt.nn.example import Example
from dqt.nn.export import export, unwrapped
from dqt.nn.prepare import prepare
from dqt.testing.networks import Model, unsettle
from dqt.train.fit import fit
from dqt.train.loss import objective
from dqt.train.search import search


def body() -> nn.Module:
    torch.manual_seed(0)
    layers = (nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model = nn.Sequential(*layers, nn.Linear(4, 3))
    unsettle(model)
    return model.eval()


def example() -> Tensor:
    return torch.rand(4, 1, 6, 6, generator=torch.Generator().manual_seed(0))


def integers(model: nn.Module) -> np.ndarray[Any, Any]:
    net = calibrate(prepare(model, example()), [example()])
    return lower(net)(example(), 4)


# wrappers


def decorated(model: nn.Module) -> nn.Module:
    """A forward of any arguments around the model's own."""
    forward = model.forward

    @functools.wraps(forward)
    def around(*args: Any, **kwargs: Any) -> Any:
        return forward(*args, **kwargs)

    model.forward = around
    return model


def plainly_decorated(model: nn.Module) -> nn.Module:
    forward = model.forward

    def around(*args: Any, **kwargs: Any) -> Any:
        return forward(*args, **kwargs)

    model.forward = around
    return model


def bound(model: nn.Module) -> nn.Module:
    """A method put on the instance."""
    forward = type(model).forward
    model.forward = types.MethodType(forward, model)
    return model


def compiled_in_place(model: nn.Module) -> nn.Module:
    model.compile()
    return model


WRAPPERS: list[Callable[[nn.Module], Any]] = [
    nn.DataParallel, torch.compile, AveragedModel, lambda m: torch.compile(nn.DataParallel(m)), compiled_in_place,
    decorated, plainly_decorated, bound,
]  # fmt: skip


COMPILES = pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated")  # what Inductor imports


@COMPILES
@pytest.mark.parametrize("wrap", WRAPPERS)
def test_wrapped_models(wrap: Callable[[nn.Module], Any]) -> None:
    want = integers(body())
    model = wrap(body()).eval()
    net = prepare(model, example())
    assert net.layers == ("0", "6")
    assert {name for name, _ in unwrapped(model).named_parameters()} <= {name for name, _ in net.named_parameters()}
    np.testing.assert_array_equal(integers(model), want)


@COMPILES
@pytest.mark.parametrize("wrap", [nn.DataParallel, torch.compile])
def test_a_wrapped_part_has_the_names_inside(wrap: Callable[[nn.Module], Any]) -> None:
    net = prepare(nn.Sequential(wrap(body()), nn.ReLU(), nn.Linear(3, 2)).eval(), example())
    assert net.layers == ("0.0", "0.6", "2")


def without_gradients(model: nn.Module) -> nn.Module:
    model.forward = torch.no_grad()(model.forward)
    return model


def in_inference_mode(model: nn.Module) -> nn.Module:
    model.forward = torch.inference_mode()(model.forward)
    return model


def in_bfloat16(model: nn.Module) -> nn.Module:
    model.forward = torch.autocast("cpu", torch.bfloat16)(model.forward)
    return model


def in_both(model: nn.Module) -> nn.Module:
    return without_gradients(in_bfloat16(model))


class Halves(nn.Module):
    """The parts of a model, of which the first and a constant are computed inside of regions."""

    def __init__(self) -> None:
        super().__init__()
        self.body = body()

    def forward(self, x: Tensor) -> Tensor:
        parts = list(self.body.children())
        with torch.no_grad():
            for part in parts[:3]:
                x = part(x)
            with torch.autocast("cpu", enabled=False):
                first, second = x.chunk(2, 1)
        with torch.no_grad():
            one = torch.ones(1)
        x = torch.cat([first * one, second], 1)
        for part in parts[3:]:
            x = part(x)
        return x


REGIONS = [without_gradients, in_inference_mode, in_bfloat16, in_both]


@pytest.mark.parametrize("wrap", REGIONS)
def test_regions_of_gradient_and_autocast_are_captured_like_the_rest(wrap: Callable[[nn.Module], Any]) -> None:
    np.testing.assert_array_equal(integers(wrap(body())), integers(body()))


def test_regions_inside_of_a_forward_with_several_results_and_with_none() -> None:
    model, x = Halves().eval(), example()
    net = calibrate(prepare(model, x), [x])
    assert net.layers == ("body.0", "body.6")
    torch.testing.assert_close(net(x, 8, exact=True), model(x), rtol=0, atol=0.01)


def test_an_operator_inside_a_region_is_named_with_its_line() -> None:
    class Sorted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = body()

        @torch.no_grad()
        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.body(x)
            return y.sort(1)[0]

    with pytest.raises(UnsupportedError, match=r"aten\.sort.*test_export\.py:\d+: `return y\.sort"):
        prepare(Sorted().eval(), example())


def test_a_default_type_of_float64_changes_no_integers() -> None:
    want = integers(body())
    model, x = body(), example()
    torch.set_default_dtype(torch.float64)
    try:
        net = calibrate(prepare(model, x), [x])
    finally:
        torch.set_default_dtype(torch.float32)
    assert {p.dtype for p in net.state_dict().values() if p.is_floating_point()} == {torch.float32}
    np.testing.assert_array_equal(lower(net)(x, 4), want)


class Outer(nn.Module):
    """Calls what it holds with whatever it gets."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = body()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.inner(*args, **kwargs)


def test_a_forward_of_any_arguments() -> None:
    net = prepare(Outer().eval(), example())
    assert net.layers == ("inner.0", "inner.6")


# the user's model stays as it was


def test_training_flags_stay_module_by_module() -> None:
    model = body().train()
    model[1].eval()  # type: ignore[index]
    before = [module.training for module in model.modules()]
    prepare(model, example())
    with pytest.raises(UnsupportedError):
        prepare(model, torch.rand(4, 2, 6, 6))
    assert [module.training for module in model.modules()] == before
    assert type(next(model.parameters())) is nn.Parameter


def test_a_copy_shares_the_tensors() -> None:
    """A model larger than half of the memory can be prepared: of its parameters there is no second copy to export."""
    model = body()
    places = {t.data_ptr() for t in model.parameters()}
    program = export(model, Example.of(model, example())).program
    assert {t.data_ptr() for t in program.parameters()} == places


def test_a_closure_over_the_model_is_the_models_own() -> None:
    """Functions cannot be copied: one that refers to the original's modules is exported with these."""
    model = Outer().eval()
    model.forward = lambda x: model.inner(x).relu()  # type: ignore[method-assign, misc]
    net = prepare(model, example())
    assert net.layers == ("inner.0", "inner.6")
    assert not any(module.training for module in model.modules())


def test_a_model_that_cannot_be_copied() -> None:
    model = Outer()
    model.anything = [threading.Lock()]  # type: ignore[assignment]
    assert prepare(model, example()).layers == ("inner.0", "inner.6")
    assert model.training


def is_refused(model: nn.Module, x: Tensor) -> bool:
    try:
        prepare(model, x)
    except UnsupportedError:
        return True
    return False


def test_many_threads_prepare_one_model_that_others_run() -> None:
    model, x = body(), example()
    want = model(x).detach()
    stop, wrong = threading.Event(), []

    def run() -> None:
        while not stop.is_set():
            try:
                if not torch.allclose(model(x), want, atol=1e-5):
                    wrong.append("another result")
            except Exception as error:
                wrong.append(repr(error))

    runner = threading.Thread(target=run)
    runner.start()
    try:
        with ThreadPoolExecutor(3) as pool:
            layers = [net.layers for net in pool.map(lambda _: prepare(model, x), range(6))]
            refused = list(pool.map(lambda _: is_refused(model, x[:, :, 0]), range(3)))
    finally:
        stop.set()
        runner.join()
    assert layers == [("0", "6")] * 6
    assert refused == [True] * 3
    assert wrong == []


# hooks


def test_hooks_of_the_float_model_are_left_out_and_named() -> None:
    want, model = integers(body()), body()
    seen: list[Any] = []
    model[0].register_forward_hook(lambda *call: seen.append(call))  # type: ignore[index]
    model[6].register_forward_pre_hook(lambda *call: seen.append(call))  # type: ignore[index]
    with pytest.warns(
        HookWarning, match=r"hooks of the float model \(on 0, 6\) are not a part of the prepared network"
    ):
        net = prepare(model, example())
    assert seen == []
    assert all(not net.get_submodule(name)._forward_hooks for name in net.layers)
    np.testing.assert_array_equal(lower(calibrate(net, [example()]))(example(), 4), want)
    model(example())
    assert len(seen) == 2


# under inference mode


def test_everything_under_inference_mode() -> None:
    want = integers(body())
    with torch.inference_mode():
        x = example()
        net = calibrate(prepare(body(), x), [x])
        exact = net.eval()(x, 4, exact=True)
        program = lower(net)
        assert search(net, [x], bitops=0.9, edges=True).items_
    np.testing.assert_array_equal(exact.numpy(), want)
    np.testing.assert_array_equal(program(x, 4), want)
    assert torch.equal(net(x, 4, exact=True), exact)
    assert all(not t.is_inference() for t in net.state_dict().values())
    net.train()(example()).sum().backward()


def test_a_model_made_under_inference_mode() -> None:
    want = integers(body())
    with torch.inference_mode():
        model = body()
    assert next(model.parameters()).is_inference()
    np.testing.assert_array_equal(integers(model), want)


def test_training_under_inference_mode() -> None:
    net = prepare(body(), example())
    x, y = example(), torch.tensor([0, 1, 2, 0])
    with torch.inference_mode():
        history = fit(net, (x, y), recipe=dqt.Recipe(epochs=1, batch_size=2, workers=0), progress=False)
    assert len(history.rows) == 1


# what is not a model, and not an example


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (nn.Linear, r"takes a model, not its class: pass Linear\(\.\.\.\)"),
        (lambda x: x, "not an object of type function"),
        ("resnet18", "not an object of type str"),
        (body().state_dict(), "not an object of type OrderedDict"),
    ],
)
def test_models_that_are_none(given: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        prepare(given, example())


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_a_scripted_model_is_refused() -> None:
    for scripted in (torch.jit.trace(body(), example()), torch.jit.script(body())):  # type: ignore[no-untyped-call]
        with pytest.raises(InputError, match="not a scripted or traced one: pass the module before that"):
            prepare(scripted, example())


def test_a_prepared_network_is_not_prepared_again() -> None:
    net = prepare(body(), example())
    for given in (net, nn.Sequential(net, nn.ReLU()), nn.DataParallel(net)):
        with pytest.raises(InputError, match=r"a network that dqt\.prepare made already: pass the float model"):
            prepare(given, example())


CALLS: dict[str, Callable[[Any], object]] = {
    "dqt.lower": lower,
    "dqt.calibrate": lambda net: calibrate(net, [example()]),
    "dqt.fit": lambda net: fit(net, (example(), torch.zeros(4, dtype=torch.long)), progress=False),
    "dqt.search": lambda net: search(net, [example()], bitops=0.5),
    "dqt.objective": lambda net: objective(net, example(), torch.zeros(4, dtype=torch.long)),
}


@pytest.mark.parametrize("name", CALLS)
def test_what_is_not_prepared_is_named(name: str) -> None:
    for given, kind in ((body(), r"a model that is not prepared \(Sequential\)"), (None, "an object of type NoneType")):
        with pytest.raises(InputError, match=rf"{name} takes a prepared network, not {kind}: .* dqt\.prepare first"):
            CALLS[name](given)
    with pytest.raises(InputError, match=r"pass what the DataParallel wraps"):
        CALLS[name](nn.DataParallel(prepare(body(), example())))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (torch.rand(1, 6, 6), r"of shape \(1, 6, 6\) have no batch dimension: .* so pass x\[None\]"),
        (torch.rand(6), r"of shape \(6,\) have no batch dimension: pass x\[None\]"),
        (torch.tensor(1.0), r"of shape \(\) have no batch dimension"),
        (torch.rand(0, 1, 6, 6), r"of shape \(0, 1, 6, 6\) are empty"),
        (torch.zeros(2, 1, 6, 6, dtype=torch.uint8), r"are torch\.uint8; need floats, .* x\.float\(\) / 255"),
        (np.zeros((2, 1, 6, 6), np.float32), r"type ndarray; need one float tensor .* torch\.from_numpy\(x\)"),
        ((torch.rand(2, 1, 6, 6), torch.rand(2, 1)), r"are 2 values, and the model's forward takes \(input"),
        (None, "type NoneType; need one float tensor"),
        ({"x": torch.rand(2, 1, 6, 6)}, r"name 'x', and the model's forward takes \(input"),
        (torch.full((2, 1, 6, 6), torch.nan), "contain NaN or infinity"),
    ],
)
def test_examples_that_are_none(given: Any, message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        prepare(body(), given)


@pytest.mark.parametrize("given", [4, {"widths": (2, 8)}, dqt.Config])
def test_a_config_that_is_none(given: Any) -> None:
    with pytest.raises(InputError, match=r"the config is a (int|dict|ModelMetaclass): pass dqt\.Config"):
        prepare(body(), example(), given)


@pytest.mark.parametrize(("given", "kind"), [(None, "NoneType"), (5, "int"), (body(), "Sequential")])
def test_calibration_data_that_are_none(given: Any, kind: str) -> None:
    with pytest.raises(CalibrationError, match=f"calibration data of type {kind}: pass batches of inputs"):
        calibrate(prepare(body(), example()), given)


def test_one_sample_without_its_batch_dimension() -> None:
    net = prepare(body(), example())
    for exact in (False, True):
        with pytest.raises(InputError, match=r"it has no batch dimension, pass x\[None\]"):
            net(example()[0], exact=exact)


def test_a_channel_is_not_a_batch() -> None:
    """Three channels of one sample look like three samples, until a layer after them cannot take another number."""
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(1), nn.Linear(36, 4))
    with pytest.raises(
        UnsupportedError, match=r"first dimension, 3, is taken for the batch dimension: pass x\[None\]"
    ) as e:
        prepare(model, torch.rand(3, 8, 8))
    assert "TORCH_LOGS" not in str(e.value)


def test_a_mask_of_a_transformer_is_not_looked_at() -> None:
    body = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 1, enable_nested_tensor=False)
    mask = nn.Transformer.generate_square_subsequent_mask(3)
    asked = torch.nn.modules.transformer._detect_is_causal_mask
    model = Model(lambda m, x: m.body(x, mask=mask), body=body)
    found = export(model, Example.of(model, torch.randn(2, 3, 8)))
    assert "aten.scaled_dot_product_attention.default" in {str(node.target) for node in found.program.graph.nodes}
    assert torch.nn.modules.transformer._detect_is_causal_mask is asked


def test_hooks_with_which_a_library_collects_outputs_stay() -> None:
    """As transformers has them: what they are given is a part of what the model returns."""
    namespace: dict[str, Any] = {"__name__": "transformers.utils.output_capturing", "seen": []}
    exec("def hook(module, args, output):\n    seen.append(output)", namespace)
    conv = nn.Conv2d(3, 4, 1)
    conv.register_forward_hook(namespace["hook"])

    def forward(m: Any, x: Tensor) -> Tensor:
        namespace["seen"].clear()
        m.conv(x)
        return namespace["seen"][0].relu()

    net = prepare(Model(forward, conv=conv), torch.randn(2, 3, 5, 5))
    assert net.layers == ("conv",)


def test_a_model_with_buffers_that_are_not_saved_is_exported_once(monkeypatch: pytest.MonkeyPatch) -> None:
    class Positions(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.places, self.head = nn.Buffer(torch.arange(6.0), persistent=False), nn.Linear(6, 2)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.head(x + self.places)
            return y

    monkeypatch.setattr("dqt.nn.export._exported_itself", None)  # what is called for the second time
    assert dqt.prepare(Positions(), torch.randn(2, 6)).layers == ("head",)
