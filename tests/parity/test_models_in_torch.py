"""Programs with several inputs and outputs, states and named dimensions: torch gives NumPy's integers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch

from dqt.arith.cascade import Cascade
from dqt.arith.plan import PlanLike, resolve
from dqt.nn.tensors import TensorArrays
from dqt.program.execute import Execution, Machine
from dqt.program.interpret import Result, execute
from dqt.program.program import Program
from dqt.testing import inputs, random_model, random_program

CPU = torch.device("cpu")


def in_torch(program: Program, x: Mapping[str, Any], plan: PlanLike, before: Execution | None) -> Execution:
    """One run on tensors, from where another ended."""
    resolved = resolve(program.space, plan)
    assert not isinstance(resolved, Cascade)
    tensors = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in x.items()}
    return Machine(program, resolved, TensorArrays(CPU)).run(tensors, before.stored if before else None, keep=True)


@pytest.mark.parametrize("seed", range(30))
def test_models(seed: int) -> None:
    program = random_model(seed, auto=seed % 2 == 0)
    program = program.bind(height=int(np.random.default_rng(seed).integers(1, 7)))
    plans: list[PlanLike] = [None, program.space.widths[0], "auto" if program.choose else program.space.widths[-1]]
    theirs: Execution | None = None
    ours: Result | None = None
    for i, plan in enumerate(plans):
        x = inputs(program, 3, seed + i)
        ours = execute(program, x, plan, ours.state if ours else None, keep=True)
        theirs = in_torch(program, x, plan, theirs)
        for name, array in ours.values.items():
            np.testing.assert_array_equal(theirs.kept[name].numpy(), array, err_msg=name)
        for name, array in ours.codes.items():
            np.testing.assert_array_equal(theirs.outputs[name].numpy(), array, err_msg=name)
        np.testing.assert_array_equal(theirs.stored["past"].numpy(), ours.state["past"])


@pytest.mark.parametrize("seed", range(30))
def test_programs(seed: int) -> None:
    program = random_program(seed, auto=seed % 2 == 0)
    x = {"input": inputs(program, 3, seed)}
    plans: list[PlanLike] = [program.space.widths[0], "auto" if program.choose else None]
    for plan in plans:
        ours, theirs = execute(program, x, plan, keep=True), in_torch(program, x, plan, None)
        for name, array in ours.values.items():
            np.testing.assert_array_equal(theirs.kept[name].numpy(), array, err_msg=name)
