"""A prepared network is a torch module like any other: names, state, copies, modes, compilation, processes."""

from __future__ import annotations

import copy
import io
import pickle
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dqt.arith import errors
from dqt.arith.cascade import Cascade
from dqt.arith.plan import Plan, PlanError
from dqt.nn import net as net_module
from dqt.nn.config import Config, Controller
from dqt.nn.net import Net
from dqt.nn.prepare import prepare
from dqt.nn.ranges import JUMP
from dqt.nn.run import Run
from dqt.program import interpret as interpret_module
from dqt.testing.networks import Model, conv, head, ready, small, with_controller
from tests.together import together


@pytest.fixture(scope="module")
def made() -> tuple[Net, Tensor]:
    return ready(small(), (3, 8, 8), **with_controller())


@cache
def calibrated(config: Config) -> tuple[Net, Tensor]:
    return ready(small(), (3, 8, 8), **dict(config))


def fresh(**options: Any) -> tuple[Net, Tensor]:
    """A copy of the network, which is prepared and calibrated once for each configuration."""
    made = copy.deepcopy(calibrated(Config(**options)))
    torch.manual_seed(0)  # as if it had been prepared now
    return made


# names and state


def test_a_state_dict_of_before_loads(made: tuple[Net, Tensor]) -> None:
    net, _ = made
    before = {
        key.replace("quantizers.", "edges.", 1) if key.startswith("quantizers.") else key: value
        for key, value in net.state_dict().items()
    }
    assert any(key.startswith("edges.") for key in before)
    other = fresh(**with_controller())[0]
    other.load_state_dict(before)
    assert all(torch.equal(value, other.state_dict()[key]) for key, value in net.state_dict().items())
    inside = nn.Sequential(fresh(**with_controller())[0])
    inside.load_state_dict({f"0.{key}": value for key, value in before.items()})
    assert all(torch.equal(value, inside.state_dict()[f"0.{key}"]) for key, value in net.state_dict().items())


def test_former_names_warn(made: tuple[Net, Tensor]) -> None:
    with pytest.warns(DeprecationWarning, match=r"Net\.quantizers now"):
        assert made[0].edges is made[0].quantizers
    with pytest.warns(DeprecationWarning, match=r"Net\.nodes now"):
        assert made[0].steps is made[0].nodes


def test_parameters_have_the_users_names() -> None:
    model = small()
    net = prepare(model, torch.randn(2, 3, 8, 8))
    theirs, ours = dict(model.named_parameters()), dict(net.named_parameters())
    assert set(theirs) <= set(ours)
    assert all(torch.equal(theirs[name], ours[name]) for name in theirs)
    kinds = nn.Conv2d | nn.Linear | nn.BatchNorm2d
    modules = {name for name, module in model.named_modules() if isinstance(module, kinds)}
    assert modules <= {name for name, _ in net.named_modules()}
    own = set(ours) - set(theirs)
    assert all(name.startswith("quantizers.") or ".at." in name or name.endswith(".clip") for name in own)


def test_a_float_models_state_can_be_loaded() -> None:
    net = prepare(small(0), torch.randn(2, 3, 8, 8))
    other = small(1)
    result = net.load_state_dict(other.state_dict(), strict=False)
    assert all("num_batches_tracked" in name for name in result.unexpected_keys)
    assert torch.equal(net.layer("0").weight, dict(other.named_parameters())["0.weight"])


def test_the_model_stays_as_it_was() -> None:
    model = small().train()
    model.get_submodule("3").eval()
    before = copy.deepcopy(model.state_dict())
    modes = [module.training for module in model.modules()]
    net = prepare(model, torch.randn(1, 3, 8, 8))
    assert net.training
    with torch.no_grad():
        for p in net.parameters():
            p.add_(1.0)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [module.training for module in model.modules()] == modes
    assert not prepare(model.eval(), torch.randn(1, 3, 8, 8)).training


def test_without_quantization_it_is_the_float_model() -> None:
    model = small().eval()
    x = torch.randn(5, 3, 8, 8)
    net = prepare(model, x)
    with torch.no_grad():
        torch.testing.assert_close(net._run(x, Run({}, quantized=False), False), model(x), rtol=1e-5, atol=1e-6)


def test_state_goes_round(made: tuple[Net, Tensor]) -> None:
    net, x = made
    file = io.BytesIO()
    torch.save(net.state_dict(), file)
    file.seek(0)
    other = prepare(small(7), x, net.config).eval()
    before = other.calibrated
    other.load_state_dict(torch.load(file, weights_only=True))
    assert (before, other.calibrated) == (False, True)
    for plan in (8, 3, "auto"):
        assert torch.equal(other(x, plan, exact=True), net(x, plan, exact=True))


def test_copies(made: tuple[Net, Tensor]) -> None:
    net, x = made
    expected = net(x, 4, exact=True)
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert torch.equal(other(x, 4, exact=True), expected)
        with torch.no_grad():
            other.layer("0").weight.mul_(-1)
        assert not torch.equal(other(x, 4, exact=True), expected)
    assert torch.equal(net(x, 4, exact=True), expected)


def test_constants_follow_every_change() -> None:
    """The integers are kept between calls; nothing that moves a parameter may leave stale ones."""
    net, x = fresh()
    seen = [net(x, 4, exact=True)]
    with torch.no_grad():
        net.layer("0").weight[0, 0, 0, 0] += 0.5
        seen.append(net(x, 4, exact=True))
        net.layer("0").weight.data[0, 0, 0, 1] -= 0.5  # not counted by torch's version of the parameter
        seen.append(net(x, 4, exact=True))
    net.train()(x, 4)
    seen.append(net.eval()(x, 4, exact=True))  # running statistics have moved
    assert all(not torch.equal(a, b) for a, b in pairwise(seen))


# training


@pytest.mark.parametrize("norm", ["per_width", "shared"])
@pytest.mark.parametrize("clip", ["learned", "statistic"])
def test_every_parameter_learns(norm: str, clip: str) -> None:
    net, x = fresh(norm=norm, weight_clip=clip, **with_controller())
    net.train()
    y, choice = net.route(x, 1.0, torch.randn(6, len(net.space.chosen), 7))
    losses = [y.square().mean(), *(net(x, b).square().mean() for b in net.config.widths)]
    torch.autograd.backward([*losses, choice.log_probability.sum()])
    assert [name for name, p in net.named_parameters() if p.requires_grad and p.grad is None] == []
    assert all(bool(torch.isfinite(p.grad).all()) for p in net.parameters() if p.grad is not None)


def test_widths_have_statistics_of_their_own() -> None:
    net, x = fresh()
    norm, stem = net.norm("3.bn"), net.norm("1")
    assert norm is not None
    assert stem is not None
    assert {id(stem.set_of(b)) for b in net.config.widths} == {id(stem)}  # the first layer has one width, and one set
    before = {b: norm.set_of(b).running_mean.clone() for b in net.config.widths}
    plan = dict.fromkeys(net.layers, 4)
    net.train()(x, plan)
    moved = [b for b in net.config.widths if not torch.equal(before[b], norm.set_of(b).running_mean)]
    assert moved == [4]
    net.eval()(x, 2)
    assert torch.equal(before[2], norm.set_of(2).running_mean)


def test_tracked_ranges_move_in_training_alone() -> None:
    net, x = fresh(momentum=0.5)
    name = "input"
    before = net.codes(name).scale
    net.eval()(x * 9)
    assert net.codes(name).scale == before
    net.train()(x * 9)
    assert net.codes(name).scale > 2 * before
    net(torch.full_like(x, float("nan")))
    assert net.codes(name).scale > 2 * before  # a bad batch does not destroy a range


def test_one_wild_batch_moves_a_tracked_range_little() -> None:
    net, x = fresh()
    quantizer = net.quantizer_of("input")
    before = float(quantizer.clip)
    quantizer.observe(x * 1e6)
    assert float(quantizer.clip) == pytest.approx(before * (0.99 + 0.01 * JUMP))
    quantizer.observe(x * float("inf"))
    assert float(quantizer.clip) == pytest.approx(before * (0.99 + 0.01 * JUMP))


def test_exact_is_evaluation_in_any_mode() -> None:
    net, x = fresh()
    expected, state = net(x, 3, exact=True), copy.deepcopy(net.state_dict())
    assert torch.equal(net.train()(x, 3, exact=True), expected)
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    assert not net(x, 3, exact=True).requires_grad


def test_dropout_is_noise_in_training_alone() -> None:
    torch.manual_seed(0)
    parts = [conv(3, 8), nn.ReLU(), nn.Dropout2d(0.5), conv(8, 8), nn.ReLU(), nn.Dropout(0.5), nn.Flatten()]
    net, x = ready(nn.Sequential(*parts, nn.Linear(512, 5)), (3, 8, 8))
    assert torch.equal(net(x, 5), net(x, 5))
    net.train()
    assert not torch.equal(net(x, 5), net(x, 5))
    step = next(s for s in net.nodes if s.kind == "dropout" and s.attrs["whole"])
    run = Run({}, batch_statistics=True)
    dropped = net.fake_node(step, [net.read(x, run)["input"].like(torch.ones(6, 8, 8, 8))], run).raw
    assert set(dropped.flatten(2).mean(2).flatten().tolist()) == {0.0, 2.0}  # whole channels


# what runs it


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, while it traces
@pytest.mark.parametrize("plan", [8, 3])
def test_compiled_is_eager(plan: int) -> None:
    net, x = ready(nn.Sequential(conv(3, 4), nn.BatchNorm2d(4), nn.ReLU(), conv(4, 2), *head("linear", 2)), (3, 8, 8))
    torch._dynamo.reset()
    compiled = torch.compile(net, backend="aot_eager")
    torch.testing.assert_close(compiled(x, plan), net(x, plan), rtol=1e-3, atol=1e-4)
    results = []
    for run in (compiled, net.train()):
        net.zero_grad()
        net.train()
        state = copy.deepcopy(net.state_dict())
        run(x, plan).square().mean().backward()
        net.load_state_dict(state)
        results.append([p.grad.clone() for p in net.parameters() if p.grad is not None])
    assert len(results[0]) == len(results[1])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=2e-2, atol=1e-3)
    torch._dynamo.reset()


def test_mixed_precision() -> None:
    net, x = fresh()
    expected = net(x, 4, exact=True)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(net(x, 4, exact=True), expected)  # integers do not care
        y = net.train()(x, 4)
        y.float().square().mean().backward()
    assert torch.isfinite(y).all()
    assert all(bool(torch.isfinite(p.grad).all()) for p in net.parameters() if p.grad is not None)


def gradients_of_half(folder: str) -> None:
    """As one of two processes."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo")
    rank = torch.distributed.get_rank()
    try:
        net, x = torch.load(f"{folder}/net.pt", weights_only=False)  # to prepare it takes longer
        parallel = nn.parallel.DistributedDataParallel(net.train(), find_unused_parameters=True)
        parallel(x[rank * 3 : rank * 3 + 3], 4).square().mean().backward()
        gradients = {name: p.grad for name, p in net.named_parameters()}
        torch.save(gradients, f"{folder}/{rank}.pt")
        torch.distributed.barrier()  # who leaves first breaks the other's connection
    finally:
        torch.distributed.destroy_process_group()


def test_two_processes_agree(tmp_path: Path) -> None:
    torch.save(fresh(norm="shared"), tmp_path / "net.pt")
    together(gradients_of_half, [str(tmp_path)])
    one, other = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert {name for name, gradient in one.items() if gradient is not None} >= {"0.weight", "0.clip", "8.bias"}
    for name, gradient in one.items():
        assert (gradient is None) == (other[name] is None)
        if gradient is not None:
            assert torch.equal(gradient, other[name])


# what it refuses


def test_one_error_for_bad_input() -> None:
    assert net_module.InputError is interpret_module.InputError is errors.InputError


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(2, 3, 8), "takes"),
        (torch.zeros(2, 3, 8, 9), r"takes \(N, 3, 8, 8\)"),
        (torch.zeros(2, 1, 8, 8), "takes"),
        (torch.zeros(0, 3, 8, 8), "N >= 1"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.int32), "torch.int32: need a floating-point"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.complex64), "complex64"),
        ([[1.0]], "type list"),
    ],
)
@pytest.mark.parametrize("exact", [True, False])
def test_inputs_that_cannot_be(made: tuple[Net, Tensor], x: Any, message: str, exact: bool) -> None:
    with pytest.raises(errors.InputError, match=message):
        made[0](x, 4, exact=exact)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("plan", [4, "auto", Cascade((2, 8), (5,))])
def test_inputs_that_are_not_finite(made: tuple[Net, Tensor], value: float, plan: Any) -> None:
    x = made[1].clone()
    x[1, 2, 3, 4] = value
    with pytest.raises(errors.InputError, match="NaN or infinity"):
        made[0](x, plan, exact=True)


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (1, "width 1"),
        (9, "width 9"),
        ({"0": 4}, "misses"),
        ({"0": 4, "3.conv": 4, "4": 4, "8": 4, "nine": 4}, "'nine', which this network does not have"),
        ({"0": 4, "3.conv": (4, 16), "4": 4, "8": 4}, "width 16 of layer 3.conv"),
        ({"0": 4, "3.conv": (4, 4, 4), "4": 4, "8": 4}, "neither a width nor a pair"),
        ("eight", "the only plan that is a word"),
        (4.5, "type float"),
        (True, "type bool"),
        (Plan(()), "misses"),
        (Cascade((1, 8), (5,)), "width 1"),
    ],
)
@pytest.mark.parametrize("exact", [True, False])
def test_plans_that_do_not_fit(made: tuple[Net, Tensor], plan: Any, message: str, exact: bool) -> None:
    with pytest.raises(PlanError, match=message):
        made[0](made[1], plan, exact=exact)


def test_what_needs_something_else(made: tuple[Net, Tensor]) -> None:
    net, x = made
    with pytest.raises(errors.InputError, match="exact=True"):
        net(x, Cascade((2, 8), (5,)))
    plain, _ = fresh()
    for call in (lambda: plain(x, "auto"), lambda: plain.route(x)):
        with pytest.raises(PlanError, match="needs a controller"):
            call()


def test_two_networks_do_not_share() -> None:
    """No state of one call, or of one network, reaches another."""
    net, x = fresh()
    other, _ = ready(Model(lambda m, x: m.b(torch.relu(m.a(x))), a=conv(3), b=conv()), (3, 8, 8))
    expected = net(x, 5, exact=True)
    other(x, 2, exact=True)
    net(x, 2)
    net(x[:1], 8, exact=True)
    assert torch.equal(net(x, 5, exact=True), expected)


# the configuration


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"master": 9}, "less than or equal to 8"),
        ({"master": 1}, "greater than or equal to 2"),
        ({"widths": (4, 2, 8)}, "must ascend"),
        ({"widths": (2, 2, 8)}, "without repeats"),
        ({"widths": ()}, "must ascend"),
        ({"widths": (1, 8)}, r"must lie in 2\.\.8"),
        ({"widths": (2, 4)}, "contain the master 8"),
        ({"master": 6, "widths": (2, 8)}, r"must lie in 2\.\.6"),
        ({"widths": (2, 8), "edge_width": 4}, "edge_width 4 is not among"),
        ({"controller": Controller(choices=(2, 9))}, r"choices \(2, 9\)"),
        ({"controller": Controller(choices=(4, 2))}, "must ascend"),
        ({"controller": {"choices": ()}}, "at least 1 item"),
        ({"norm": "batch"}, "'per_width' or 'shared'"),
        ({"momentum": 1.0}, "less than 1"),
        ({"momentum": float("nan")}, "momentum"),
        ({"weight_clip": "max"}, "'learned' or 'statistic'"),
        ({"width": (2, 8)}, "Extra inputs are not permitted"),
        ({"widths": 8}, "valid tuple"),
        ({"master": "many"}, "valid integer"),
    ],
)
def test_configurations_that_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Config(**options)


def test_defaults_follow_the_master() -> None:
    assert Config(master=4).widths == (2, 3, 4)
    assert Config(master=4).edge_width == 4
    assert Config(widths=(2, 8)).edge_width == 8
    assert Config().choices == ()
    assert Config(controller=Controller()).choices == (2, 3, 4, 5, 6, 7, 8)
    again = Config.model_validate_json(Config(controller=Controller(choices=(2, 8))).model_dump_json())
    assert again == Config(controller=Controller(choices=(2, 8)))
