"""Random programs of norms, softmax, products of activations and embeddings: however they run, the same integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from dqt.arith.plan import Plan, PlanLike, resolve
from dqt.nn.tensors import TensorArrays
from dqt.program.execute import Machine
from dqt.program.interpret import execute
from dqt.program.program import Program
from dqt.runtime import Runtime
from dqt.runtime.runtime import kernel_sets
from dqt.testing import extremes, inputs, random_transformer
from tests.program.naive import Naive


def plans(program: Program, seed: int) -> list[PlanLike]:
    """The lowest width, and a pair of its own for each layer; or what the controller chooses."""
    if program.space.choices:
        return ["auto"]
    widths = program.space.widths
    pairs = {
        name: (widths[(i + seed) % len(widths)], widths[i * 2 % len(widths)]) for i, name in enumerate(program.layers)
    }
    return [widths[0], pairs]


def batch(program: Program, seed: int) -> dict[str, Any]:
    """Samples of one length, usual and extreme."""
    sizes = {"length": 1 + seed % 5}
    parts = [make(program, 2, seed, sizes) for make in (inputs, extremes)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


@pytest.mark.parametrize("seed", range(12))
def test_numpy_is_what_python_integers_are(seed: int) -> None:
    program = random_transformer(seed, auto=seed % 3 == 2)
    x = batch(program, seed)
    bound = program.bind(length=1 + seed % 5)
    for plan in plans(program, seed):
        result, fixed = execute(program, x, plan, keep=True), resolve(program.space, plan)
        for i in range(4):
            sample = {name: values[i] for name, values in x.items()}
            data, _ = Naive(bound).run(sample, dict(fixed.items_) if isinstance(fixed, Plan) else None)
            for value in bound.values:
                for index, q in data[value.name].items():
                    assert result.values[value.name][i][index] == q, (value.name, index)


@pytest.mark.parametrize("seed", range(30))
def test_torch_and_the_engine_are_what_numpy_is(seed: int) -> None:
    program = random_transformer(seed, auto=seed % 3 == 2)
    x = batch(program, seed)
    bound, tensors = program.bind(length=1 + seed % 5), {name: torch.from_numpy(v) for name, v in x.items()}
    for plan in plans(program, seed):
        expected, fixed = execute(program, x, plan).codes, resolve(program.space, plan)
        assert not isinstance(fixed, str) or fixed == "auto"
        run = Machine(bound, fixed, TensorArrays(torch.device("cpu"))).run(tensors)  # type: ignore[arg-type]
        found = [run.outputs] + [Runtime(program, isa=isa, threads=2).codes(x, plan) for isa in kernel_sets()]
        for codes in found:
            for name, values in expected.items():
                assert np.array_equal(np.asarray(codes[name]), values), name
