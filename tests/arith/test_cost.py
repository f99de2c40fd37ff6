"""Costs counted by hand on a small space (docs/numerics.md, section 6)."""

from dataclasses import dataclass

import numpy as np
import pytest

from dqt.arith.cascade import Cascade
from dqt.arith.cost import Cost, bitops_table, chosen_bitops, controller_bitops, cost, full_bitops
from dqt.arith.plan import PlanError, Space
from tests.arith.test_plan import DYNAMIC, SPACE


@dataclass(frozen=True)
class Network:
    space: Space


def test_the_master_costs_no_shift() -> None:
    assert cost(Network(SPACE)) == Cost(
        macs=3110,
        bitops=3110 * 64,
        share=1.0,
        shifts_weights=0,
        shifts_activations=0,
        float_path=0,
        master_bytes=125,
        read_bytes=125,
    )


def test_weights_and_activations_are_counted_apart() -> None:
    found = cost(Network(SPACE), {"stem": 8, "body.0": (2, 8), "body.1": (8, 4), "head": 8})
    bitops = 100 * 64 + 1000 * 2 * 8 + 2000 * 8 * 4 + 10 * 64
    assert found == Cost(
        macs=3110,
        bitops=bitops,
        share=bitops / (3110 * 64),
        shifts_weights=50,  # body.0's weights
        shifts_activations=40,  # body.1's inputs
        float_path=180,
        master_bytes=125,
        read_bytes=88,  # 10*8 + 50*2 + 60*8 + 5*8 = 700 bits, rounded up
    )
    assert found.as_dict()["bitops"] == bitops


def test_a_uniform_width_leaves_the_edges() -> None:
    assert cost(Network(SPACE), 2).bitops == 110 * 64 + 3000 * 4


def test_the_table_of_widths() -> None:
    table = bitops_table(SPACE)
    assert table.shape == (4, 3)
    assert table[1].tolist() == [1000 * 4, 1000 * 16, 1000 * 64]


def test_the_cost_of_chosen_widths_counts_the_controller() -> None:
    assert (full_bitops(DYNAMIC), controller_bitops(DYNAMIC), controller_bitops(SPACE)) == (3110 * 64, 7 * 64, 0)
    widths = np.array([[8, 2, 8, 8], [8, 8, 8, 8]], dtype=np.int8)  # int8 squares would overflow their lane
    assert chosen_bitops(DYNAMIC, widths).tolist() == [110 * 64 + 4000 + 128000 + 448, 3110 * 64 + 448]


@pytest.mark.parametrize("widths", [[[8, 8, 8]], [8, 8, 8, 8], [[[8, 8, 8, 8]]]])
def test_widths_of_the_wrong_shape(widths: list[object]) -> None:
    with pytest.raises(PlanError, match=r"need \[samples, 4\]"):
        chosen_bitops(SPACE, np.array(widths))


@pytest.mark.parametrize("plan", ["auto", Cascade((2, 8), (1,))])
def test_a_plan_that_depends_on_the_input_has_no_static_cost(plan: object) -> None:
    with pytest.raises(PlanError, match="this plan's cost depends on the input: run it and count the widths"):
        cost(Network(DYNAMIC), plan)  # type: ignore[arg-type]


def test_an_illegal_plan_has_no_cost() -> None:
    with pytest.raises(PlanError, match="width 3 of the plan"):
        cost(Network(SPACE), 3)
