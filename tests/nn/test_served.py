"""The integers of a network are those of its parameters as they are now, whatever changed them."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from unittest import mock

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from dqt.arith.errors import InputError
from dqt.lower.emit import lower
from dqt.nn.calibrate import calibrate
from dqt.nn.emission import emit
from dqt.nn.errors import UnsupportedError
from dqt.nn.net import Net
from dqt.nn.prepare import prepare
from dqt.testing.networks import ready, unsettle


def fresh() -> tuple[Net, Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(36, 3))
    unsettle(model)
    return ready(model.eval(), (2, 5, 5))


def reversed_taps(net: Net) -> None:
    weight = net.layer("0").weight
    weight.data = weight.data.flip(3)  # the same numbers, so the same sums


def edited(net: Net) -> None:
    """In the same memory, without a new version: torch itself cannot tell."""
    data = net.layer("0").weight.data
    data.copy_(data.flip(3).clone())


def through_numpy(net: Net) -> None:
    net.layer("4").weight.detach().numpy()[:] *= -1


def two_swapped(net: Net) -> None:
    weight = net.layer("4").weight
    weight.data[0], weight.data[1] = weight.data[1].clone(), weight.data[0].clone()


def loaded(net: Net) -> None:
    net.load_state_dict({k: v.flip(0) if k == "4.weight" else v for k, v in net.state_dict().items()})


def negated_bias(net: Net) -> None:
    bias = net.layer("4").bias
    assert bias is not None
    bias.data.neg_()


def other_eps(net: Net) -> None:
    norm = net.norm("1")
    assert norm is not None
    norm.eps = 0.5


CHANGES: list[Callable[[Net], None]] = [
    reversed_taps, edited, through_numpy, two_swapped, loaded, negated_bias, other_eps,
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_no_change_leaves_stale_integers(change: Callable[[Net], None]) -> None:
    net, x = fresh()
    before = net(x, 4, exact=True)
    assert lower(net)(x, 4).shape == before.shape
    change(net)
    other = copy.deepcopy(net)
    after = net(x, 4, exact=True)
    assert not torch.equal(before, after)
    np.testing.assert_array_equal(lower(net)(x, 4), after.numpy())
    assert torch.equal(other(x, 4, exact=True), after)


def test_the_program_is_made_once_for_parameters_that_stand_still() -> None:
    net, x = fresh()
    with mock.patch("dqt.nn.served.emit", wraps=emit) as made:
        for _ in range(3):
            net(x, 4, exact=True)
        assert made.call_count == 1
        with net.frozen():
            net(x, 4, exact=True)
            with net.frozen():
                net(x, 2, exact=True)
            net(x, 2, exact=True)
        net(x, 2, exact=True)
        assert made.call_count == 1


def test_a_context_follows_the_changes_that_torch_counts() -> None:
    net, x = fresh()
    with net.frozen():
        before = net(x, 4, exact=True)
        with torch.no_grad():
            net.layer("4").weight.mul_(-1)
        assert not torch.equal(net(x, 4, exact=True), before)
    after = net(x, 4, exact=True)
    np.testing.assert_array_equal(lower(net)(x, 4), after.numpy())


def test_a_context_ends_with_an_error() -> None:
    net, x = fresh()
    with pytest.raises(KeyError), net.frozen():
        raise KeyError
    edited(net)
    np.testing.assert_array_equal(lower(net)(x, 4), net(x, 4, exact=True).numpy())


def saved(net: Net) -> Net:
    file = io.BytesIO()
    torch.save(net, file)
    file.seek(0)
    made = torch.load(file, weights_only=False)
    assert isinstance(made, Net)
    return made


COPIES: list[Callable[[Net], Net]] = [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net)), saved]


@pytest.mark.parametrize("through", COPIES)
@pytest.mark.parametrize("ran", [False, True])
def test_copies_have_equal_integers(through: Callable[[Net], Net], ran: bool) -> None:
    net, x = fresh()
    if ran:
        net(x, 4, exact=True)
    made = through(net)
    for plan in (8, 3):
        assert torch.equal(made(x, plan, exact=True), net(x, plan, exact=True))
    edited(made)
    assert not torch.equal(made(x, 8, exact=True), net(x, 8, exact=True))


# parameters that are no numbers


@pytest.mark.parametrize(
    ("name", "value"),
    [("0.weight", float("nan")), ("4.weight", float("-inf")), ("4.bias", float("inf")), ("1.weight", float("nan")),
     ("1.bias", float("inf")), ("1.running_mean", float("nan")), ("1.running_var", -1.0)],
)  # fmt: skip
def test_a_broken_parameter_is_named(name: str, value: float) -> None:
    """In whichever step it breaks: the error never speaks of the data."""
    net, x = fresh()
    net(x, 4, exact=True)
    net.state_dict()[name].view(-1)[0] = value
    for call in (lambda: lower(net), lambda: net(x, 4, exact=True), lambda: calibrate(net, [x])):
        with pytest.raises(UnsupportedError, match=name.replace(".", r"\.")):
            call()


def test_a_broken_model_is_refused_at_once() -> None:
    for name, value in (("0.weight", float("nan")), ("1.running_var", -1.0), ("4.bias", float("inf"))):
        model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(36, 3)).eval()
        model.state_dict()[name].view(-1)[0] = value
        with pytest.raises(UnsupportedError, match=name.replace(".", r"\.")):
            prepare(model, torch.randn(2, 2, 5, 5))


def test_a_double_beyond_float32_is_no_number() -> None:
    model = nn.Linear(3, 2).double()
    model.weight.data[0, 0] = 1e200
    with pytest.raises(UnsupportedError, match="weight holds NaN or infinity, or a number beyond float32, in 1 of 6"):
        prepare(model, torch.randn(2, 3, dtype=torch.float64))


def test_a_scale_that_cannot_be_names_its_layer() -> None:
    net, x = fresh()
    with torch.no_grad():
        net.layer("4").weight.mul_(1e30)
        net.layer("0").weight.mul_(1e-8)
    quantizer = net.quantizer_of("input")
    quantizer.clip.fill_(1e30)
    with pytest.raises(UnsupportedError, match=r"layer (0|4): "):
        net(x, 4, exact=True)


def test_blocks_of_several_threads_may_end_in_any_order() -> None:
    net, x = fresh()
    first, second = net.frozen(), net.frozen()
    first.__enter__()
    second.__enter__()
    before = net(x, 4, exact=True)
    first.__exit__(None, None, None)
    second.__exit__(None, None, None)
    net(x, 4, exact=True)
    edited(net)
    assert not torch.equal(net(x, 4, exact=True), before)
    np.testing.assert_array_equal(lower(net)(x, 4), net(x, 4, exact=True).numpy())


@pytest.mark.parametrize("change", [edited, through_numpy, two_swapped], ids=lambda change: change.__name__)
def test_a_context_in_which_parameters_changed_unseen_ends_with_an_error(change: Callable[[Net], None]) -> None:
    net, x = fresh()
    block = net.frozen()
    block.__enter__()
    net(x, 4, exact=True)
    change(net)
    net(x, 4, exact=True)
    with pytest.raises(InputError, match=r"changed inside net\.frozen"):
        block.__exit__(None, None, None)
    np.testing.assert_array_equal(lower(net)(x, 4), net(x, 4, exact=True).numpy())


def pruned(net: Net) -> None:
    prune.l1_unstructured(net.layer("0"), "weight", 0.5)  # type: ignore[no-untyped-call]


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated")
def weight_normed(net: Net) -> None:
    nn.utils.weight_norm(net.layer("0"))


@pytest.mark.parametrize("rewrite", [pruned, weight_normed], ids=lambda rewrite: rewrite.__name__)
@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated")
def test_weights_that_hooks_of_torch_compute_are_followed(rewrite: Callable[[Net], None]) -> None:
    net, x = fresh()
    rewrite(net)
    before = net(x, 4, exact=True)
    name, source = next((n, p) for n, p in net.layer("0").named_parameters() if n in ("weight_orig", "weight_v"))
    source.data = source.data.flip(3)
    after = net(x, 4, exact=True)
    assert not torch.equal(before, after), name
    np.testing.assert_array_equal(lower(net)(x, 4), after.numpy())
    net(x, 4)  # in torch's own pass its hooks run as well
    assert torch.equal(net(x, 4, exact=True), after)


def test_what_replaces_a_layer_is_named() -> None:
    net, x = fresh()
    net._modules["0"] = nn.Conv2d(2, 4, 3)
    with pytest.raises(ValueError, match=r"0 is no longer what dqt\.prepare put there.*Conv2d"):
        net(x, 4, exact=True)
    net, x = fresh()
    net._modules["0"] = net.layer("4")
    with pytest.raises(ValueError, match="but the layer 4: change the float model"):
        net(x, 4)
    net, x = fresh()
    net._modules["1"] = nn.Identity()
    with pytest.raises(ValueError, match=r"1 is no longer what dqt\.prepare put there.*Identity"):
        net(x, 4)


def test_a_weight_of_another_shape_is_named() -> None:
    net, x = fresh()
    net.layer("0").weight.data = torch.ones(2, 2, 3, 3)
    with pytest.raises(UnsupportedError, match=r"0\.weight has shape \[2, 2, 3, 3\].*with \[4, 2, 3, 3\]"):
        net(x, 4, exact=True)


def test_torch_compile_leaves_exact_runs_as_they_are() -> None:
    net, x = fresh()
    compiled = torch.compile(net, backend="eager")
    assert torch.equal(compiled(x, 4, exact=True), net(x, 4, exact=True))


def test_a_number_beyond_float32_is_refused_as_the_interpreter_does() -> None:
    net, x = fresh()
    with pytest.raises(InputError, match="beyond float32"):
        net(x.double() * 1e300, 4, exact=True)
