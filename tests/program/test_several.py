"""Several inputs and outputs, states and integers of any interval: the interpreter, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import dqt
from dqt.arith.cascade import Cascade
from dqt.arith.errors import InputError, InputRangeWarning
from dqt.arith.plan import Plan, PlanError, PlanLike, resolve
from dqt.program.evaluate import evaluate, run_batches
from dqt.program.interpret import Result, execute, interpret
from dqt.program.ops.add import Add
from dqt.program.ops.quantize import Quantize
from dqt.program.program import Program
from dqt.testing import Builder, extremes, inputs, random_model
from tests.program.naive import Naive, Tensor


def tensor(array: Any) -> Tensor:
    return {index: int(array[index]) for index in np.ndindex(*array.shape)}


def check(program: Program, x: Mapping[str, Any], plan: PlanLike, before: Result | None) -> Result:
    """Every value and state of every sample equals the naive executor's."""
    state = before.state if before else None
    result = execute(program, x, plan, state, keep=True)
    fixed = resolve(program.space, plan)
    pairs = dict(fixed.items_) if isinstance(fixed, Plan) else None
    for i in range(len(next(iter(x.values())))):
        naive = Naive(program)
        own = {name: tensor(array[i]) for name, array in state.items()} if state else None
        data, widths = naive.run({name: array[i] for name, array in x.items()}, pairs, own)
        for name, value in result.values.items():
            assert tensor(value[i]) == data[name], (name, i)
        assert {name: tensor(array[i]) for name, array in result.state.items()} == naive.stored
        assert tuple(result.widths[i]) == tuple(min(widths[name]) for name in program.layers)
    return result


@pytest.mark.parametrize("seed", range(24))
def test_random_models_equal_python_integers_run_after_run(seed: int) -> None:
    program = random_model(seed, auto=seed % 2 == 1)
    bound = program.bind(height=int(np.random.default_rng(seed).integers(1, 7)))
    plans: list[PlanLike] = [None, program.space.widths[0], "auto" if program.choose else program.space.widths[-1]]
    before = None
    for i, plan in enumerate(plans):
        before = check(bound, inputs(bound, 2, seed + i), plan, before)


def test_outputs_have_names_and_their_own_precision() -> None:
    program = random_model(1)
    x = inputs(program, 3)
    y, state = interpret(program, x)
    result = execute(program, x)
    values = {value.name: value for value in program.values}
    assert list(y) == [out.name for out in program.outputs] == ["scores", "mixed", "tokens"]
    for out in program.outputs:
        value = values[out.value]
        expected = (result.codes[out.name] - value.zero).astype(np.float32) * np.float32(value.scale)
        assert y[out.name].dtype == np.float32
        assert_array_equal(y[out.name], expected)
    assert_array_equal(y["tokens"], x["tokens"])  # tokens have scale 1 and zero 0
    assert result.codes["scores"].dtype == np.int32
    assert_array_equal(state["past"], result.state["past"])


def test_a_tuple_in_order_is_a_dict_by_name() -> None:
    program = random_model(3)
    x = inputs(program, 2)
    for given in (tuple(x[one.name] for one in program.inputs), dict(reversed(x.items()))):
        assert_array_equal(execute(program, given).codes["scores"], execute(program, x).codes["scores"])


def test_one_input_is_an_array_or_a_dict() -> None:
    b = Builder(0, (2, 3, 3))
    program = b.build(b.conv("v0", 2))
    x = inputs(program, 2)
    assert_array_equal(interpret(program, {"input": x}), interpret(program, x))
    assert_array_equal(program({"input": x}, 2), program(x, 2))


def test_the_state_starts_as_real_zeros_and_is_not_changed_by_a_run() -> None:
    program = random_model(3)
    x = inputs(program, 2)
    (state,) = program.states
    start = {"past": np.full((2, *state.shape), state.zero)}
    first = execute(program, x, None, start)
    assert_array_equal(first.state["past"], execute(program, x).state["past"])
    assert (start["past"] == state.zero).all()
    second = execute(program, x, None, first.state)
    assert first.state["past"].dtype == np.int32
    assert not np.array_equal(second.state["past"], first.state["past"])
    assert not np.array_equal(second.codes["scores"], first.codes["scores"])


def test_slices_of_a_batch_keep_their_own_states(monkeypatch: pytest.MonkeyPatch) -> None:
    from dqt.program import passes as module

    program = random_model(5)
    x = inputs(program, 7)
    before = execute(program, x)
    whole = execute(program, x, None, before.state)
    monkeypatch.setattr(module, "SLICE_SAMPLES", 2)
    cut = execute(program, x, None, before.state)
    for name in whole.codes:
        assert_array_equal(cut.codes[name], whole.codes[name])
    assert_array_equal(cut.state["past"], whole.state["past"])


def gained() -> tuple[Program, Quantize]:
    """An input whose channels have gains and biases of their own."""
    b = Builder(4, (3, 2, 2), axis=0)
    program = b.build("v0")
    quantize = program.ops[0]
    assert isinstance(quantize, Quantize)
    return program, quantize


def test_an_input_is_multiplied_rounded_and_added_by_channel() -> None:
    program, quantize = gained()
    x = inputs(program, 50)
    for c in range(3):
        product = x[:, c] * quantize.gain[c]  # float32 each, two roundings
        expected = (np.rint(product + quantize.bias[c]) + program.values[0].zero).clip(0, 255)
        assert_array_equal(execute(program, x).codes[:, c], expected)


def test_a_channel_far_outside_of_its_own_range_is_a_warning() -> None:
    program, quantize = gained()
    low = (0 - program.values[0].zero - quantize.bias) / quantize.gain
    high = (255 - program.values[0].zero - quantize.bias) / quantize.gain
    middle = ((low + high) / 2).astype(np.float32).reshape(1, 3, 1, 1)
    inside = np.broadcast_to(middle, (4, 3, 2, 2)).copy()
    assert len(np.unique(execute(program, inside).codes)) <= 2
    inside[3, 1] += 30 * np.abs(high - low)[1]
    with pytest.warns(InputRangeWarning, match="sample 3 of the input"):
        execute(program, inside)


def test_codes_of_any_zero_where_nothing_is_padded() -> None:
    """The input's zero point lies outside of the codes: all reals are to one side of 0."""
    for zero in (-1000, 300, 7, 2**15):
        b = Builder(5, (6,))
        b.values["v0"] = replace(b.values["v0"], zero=zero)
        program = b.build(b.linear("v0", 3, integers=True))
        x = inputs(program, 4)
        result = execute(program, x, 2, keep=True)
        data, _ = Naive(program).run(x[1], dict.fromkeys(program.layers, (8, 8)))
        assert tensor(execute(program, x, keep=True).values["v1"][1]) == data["v1"], zero
        assert result.codes.shape == (4, 3)


LONG = {"hint": np.zeros((2, 7), np.float32)}
BAD: dict[str, tuple[Any, str]] = {
    "unknown": (lambda x: x | {"picture": x["image"]}, "unknown input picture: this program takes image, tokens"),
    "several unknown": (lambda x: x | {"a": 1, "b": 2}, "unknown inputs a, b: this program takes image, tokens"),
    "missing": (lambda x: {"image": x["image"]}, "missing input tokens: this program takes image, tokens"),
    "one array": (lambda x: x["image"], "this program has the inputs image, tokens: pass a dict by name, or a tuple"),
    "a short tuple": (lambda x: (x["image"],), "pass a dict by name, or a tuple of all"),
    "nothing": (lambda _: None, "pass a dict by name"),
    "batches": (lambda x: x | {"tokens": x["tokens"][:1]}, "batches of different sizes: image has 2, tokens has 1"),
    "floats for tokens": (lambda x: x | {"tokens": x["tokens"] * 1.0}, "input tokens of dtype float64: pass integers"),
    "a token too large": (lambda x: x | {"tokens": x["tokens"] * 0 + 10**6}, "sample 0 of input tokens holds 1000000"),
    "tokens of another shape": (lambda x: x | {"tokens": x["tokens"][:, :, None]}, "input tokens of shape"),
    "a NaN": (lambda x: x | {"image": x["image"] * np.nan}, "sample 0 of input image holds a NaN"),
}


@pytest.mark.parametrize("case", BAD)
def test_inputs_that_do_not_fit_are_one_clear_error(case: str) -> None:
    program = random_model(7)
    change, message = BAD[case]
    runs: list[Callable[[Any], Any]] = [partial(interpret, program), dqt.Runtime(program, threads=1).session(2)]
    for run in runs:
        with pytest.raises(InputError, match=message) as caught:
            run(change(inputs(program, 2)))
        assert len(str(caught.value)) < 300


STATES: dict[str, tuple[Any, str]] = {
    "another name": (lambda s: {"memory": s["past"]}, "unknown state memory: this program takes past"),
    "none of them": (lambda _: {}, "missing state past"),
    "another batch": (lambda s: {"past": s["past"][:1]}, "state past of shape"),
    "another shape": (lambda s: {"past": s["past"][:, :, :, :-1]}, "state past of shape"),
    "floats": (lambda s: {"past": s["past"] * 1.0}, "state past of dtype float64"),
    "another range": (lambda s: {"past": s["past"] * 0 + 10**6}, r"state past is not within \["),
    "an array": (lambda s: s["past"], "a state of type ndarray"),
}


@pytest.mark.parametrize("case", STATES)
def test_a_state_of_another_program_is_refused(case: str) -> None:
    program = random_model(8)
    x = inputs(program, 2)
    change, message = STATES[case]
    bad = change(execute(program, x).state)
    session = dqt.Runtime(program, threads=1).session(2)
    with pytest.raises(InputError, match=message):
        execute(program, x, None, bad)
    with pytest.raises(InputError, match=message):
        session.state = bad


def test_a_state_for_a_program_without_any_is_refused() -> None:
    program = Builder(0, (2, 3, 3)).build("v0")
    with pytest.raises(InputError, match="unknown state past: this program has no states"):
        interpret(program, inputs(program, 1), None, {"past": np.zeros(1, np.int32)})


def test_cascades_need_no_states() -> None:
    program = random_model(9)
    cascade = Cascade(program.space.widths[:2], (3,))
    if len(program.space.widths) < 2:
        pytest.fail("choose a seed whose program has two widths")
    with pytest.raises(PlanError, match="this program has states, which every run changes"):
        interpret(program, inputs(program, 2), cascade)
    with pytest.raises(PlanError, match="this program has states"):
        dqt.Runtime(program, threads=1).session(2)(inputs(program, 2), cascade)


def test_a_cascade_looks_at_the_output_that_its_margin_names() -> None:
    from dqt.arith.margin import Margin

    b = Builder(11, (6,), widths=(2, 8))
    b.output(b.linear("v0", 5, integers=True), "classes")
    b.output(b.linear("v0", 2, integers=True), "boxes")
    program = b.build()
    x = inputs(program, 9)
    low, high = execute(program, x, 2), execute(program, x, 8)
    sure = Margin(output="classes")(low.codes)
    threshold = int(np.median(sure))
    result = execute(program, x, Cascade((2, 8), (threshold,), Margin(output="classes")))
    for name in ("classes", "boxes"):
        again = (sure <= threshold)[:, None]
        assert_array_equal(result.codes[name], np.where(again, high.codes[name], low.codes[name]))
    assert_array_equal(result.passes, 1 + (sure <= threshold))
    served = dqt.Runtime(program, threads=1).execute(x, Cascade((2, 8), (threshold,), Margin(output="classes")))
    assert_array_equal(served.codes["boxes"], result.codes["boxes"])


def test_what_needs_one_input_or_output_says_so() -> None:
    program = random_model(0)
    x = inputs(program, 2)
    for property_name in ("input_shape", "output"):
        with pytest.raises(InputError, match=r"this program has \d (in|out)puts, .*: this takes a program with one"):
            getattr(program, property_name)
    for call in (lambda: evaluate(program, x), lambda: run_batches(program, x)):
        with pytest.raises(InputError, match="this program has 3 outputs, scores, mixed, tokens"):
            call()


def test_a_sum_of_integers_of_32_bits_does_not_wrap() -> None:
    top = 2**31 - 1
    b = Builder(3, (2,))
    x = b.tokens("big", (2,), -top, top)
    out = b.binary(Add, x, x, integers=(-top, top))
    b.ops[-1] = replace(b.ops[-1], k1=1 << 20, k2=1 << 20, k3=1 << 19, shift=20)  # type: ignore[call-arg]
    b.output("v0", "other")
    program = b.build(out)
    numbers = np.array([[top, -top], [2**30, -(2**30)]])
    codes = execute(program, {"input": np.zeros((2, 2)), "big": numbers}).codes["output"]
    assert_array_equal(codes, np.clip(2 * numbers, -top, top))


def test_extremes_saturate() -> None:
    program = random_model(4)
    result = execute(program, extremes(program, 4))
    assert all(np.isfinite(result.codes[name]).all() for name in result.codes)
