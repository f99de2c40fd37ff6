"""Programs with several inputs and outputs, states and named dimensions in the native engine."""

from __future__ import annotations

import copy
import pickle
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from dqt.arith.errors import InputError
from dqt.arith.plan import PlanLike
from dqt.program.interpret import Result, execute, interpret
from dqt.runtime import Runtime
from dqt.runtime.runtime import kernel_sets
from dqt.testing import Builder, inputs, random_model, random_program


def equal(a: Result, b: Result) -> None:
    assert list(a.codes) == list(b.codes)
    for name in a.codes:
        assert_array_equal(a.codes[name], b.codes[name])
    for name in a.state:
        assert_array_equal(a.state[name], b.state[name])
    assert_array_equal(a.widths, b.widths)


@pytest.mark.parametrize("isa", kernel_sets())
@pytest.mark.parametrize("seed", range(6))
def test_sessions_give_the_integers_of_the_interpreter(seed: int, isa: str) -> None:
    program = random_model(seed, auto=seed % 2 == 1)
    session = Runtime(program, threads=1, isa=isa).session(samples=3)
    plans: list[PlanLike] = [program.space.widths[0], "auto" if program.choose else None, program.space.widths[-1]]
    state: Any = None
    for i, plan in enumerate(plans):
        x = inputs(program, 3, seed + i)
        expected = execute(program, x, plan, state)
        equal(session.execute(x, plan), expected)
        state = expected.state
    assert_array_equal(session.state["past"], state["past"])


def test_a_call_dequantizes_and_gives_widths() -> None:
    program = random_model(3, auto=True)
    x = inputs(program, 2)
    session = Runtime(program, threads=1).session(2)
    y, widths = session(x, "auto", return_widths=True)
    expected, _ = interpret(program, x, "auto")
    for name in expected:
        assert_array_equal(y[name], expected[name])
    assert_array_equal(widths, execute(program, x, "auto").widths)


def test_reset_and_assignment() -> None:
    program = random_model(2)
    x = inputs(program, 2)
    session = Runtime(program, threads=1).session(2)
    first = session.execute(x)
    kept = session.state
    second = session.execute(x)
    session.state = kept
    equal(session.execute(x), second)
    session.reset()
    assert (session.state["past"] == program.states[0].zero).all()
    equal(session.execute(x), first)


def test_the_state_is_a_copy() -> None:
    program = random_model(2)
    session = Runtime(program, threads=1).session(1)
    session(inputs(program, 1))
    before = session.state["past"].copy()
    session.state["past"][:] = 0
    assert_array_equal(session.state["past"], before)


def test_a_failed_call_leaves_the_state() -> None:
    program = random_model(2)
    x = inputs(program, 2)
    session = Runtime(program, threads=1).session(2)
    session(x)
    before = session.state
    with pytest.raises(InputError):
        session(x | {"tokens": x["tokens"] * 0 + 10**6})
    assert_array_equal(session.state["past"], before["past"])


def test_the_number_of_samples() -> None:
    program = random_model(2)
    run = Runtime(program, threads=1)
    with pytest.raises(InputError, match=r"3 samples, but this session has 2: run.session\(samples=3\)"):
        run.session(2)(inputs(program, 3))
    with pytest.raises(InputError, match="a session of 0 samples: need at least 1"):
        run.session(0)


def test_a_plain_call_names_the_session() -> None:
    program = random_model(2)
    run = Runtime(program, threads=1)
    for call in (run, run.execute, run.codes):
        with pytest.raises(InputError, match=r"this program has states: session = run.session\(samples=N\)"):
            call(inputs(program, 1))


def test_a_session_of_a_program_without_states_is_plain_calls() -> None:
    program = random_program(3)
    x = inputs(program, 4)
    assert_array_equal(Runtime(program, threads=1).session(4)(x, 2), Runtime(program, threads=1)(x, 2))


def test_several_outputs_without_states(tmp_path: Path) -> None:
    b = Builder(8, (4,))
    hint = b.input("hint", (2,), axis=0)
    b.output(b.linear("v0", 3, integers=True), "a")
    b.output(b.linear(hint, 2), "b")
    program = b.build()
    path = tmp_path / "net.dqt"
    program.save(path)
    x = inputs(program, 70)
    expected = interpret(program, x, 4)
    for run in (Runtime(program, threads=1), Runtime(path, threads=2), pickle.loads(pickle.dumps(Runtime(path)))):
        for y in (run(x, 4), run((x["input"], x["hint"]), 4)):
            assert list(y) == ["a", "b"]
            assert_array_equal(y["a"], expected["a"])
            assert_array_equal(y["b"], expected["b"])


def test_sessions_of_several_threads_are_apart() -> None:
    program = random_model(4)
    run = Runtime(program, threads=1)
    found: dict[int, Result] = {}

    def work(seed: int) -> None:
        session = run.session(2)
        for i in range(20):
            found[seed] = session.execute(inputs(program, 2, seed + i % 2, {"height": 1 + seed % 3}))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed in range(4):
        state = None
        for i in range(20):
            expected = execute(program, inputs(program, 2, seed + i % 2, {"height": 1 + seed % 3}), None, state)
            state = expected.state
        equal(found[seed], expected)


def test_a_copy_shares_the_weights_and_no_session() -> None:
    program = random_model(4)
    run = Runtime(program, threads=1)
    session = run.session(1)
    x = inputs(program, 1)
    first = session.execute(x)
    equal(copy.copy(run).session(1).execute(x), first)


def test_widths_and_passes_of_the_last_call_are_deprecated() -> None:
    program = random_program(1, auto=True)
    run = Runtime(program, threads=1)
    x = inputs(program, 3)
    result = run.execute(x, "auto")
    with pytest.warns(DeprecationWarning, match=r"Runtime.widths .* return_widths=True"):
        assert_array_equal(run.widths, result.widths)
    with pytest.warns(DeprecationWarning, match=r"Runtime.passes .* run.execute"):
        assert_array_equal(run.passes, np.ones(3))
