"""Plans, the space they live in, cascades: what is accepted, and every message for what is not."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dqt.arith.cascade import Cascade
from dqt.arith.plan import AUTO, Layer, Plan, PlanError, Space, load_plan, resolve, uniform

LAYERS = (
    Layer("stem", macs=100, weights=10, inputs=20, outputs=30, edge=True),
    Layer("body.0", macs=1000, weights=50, inputs=30, outputs=40),
    Layer("body.1", macs=2000, weights=60, inputs=40, outputs=40),
    Layer("head", macs=10, weights=5, inputs=40, outputs=10, edge=True),
)
SPACE = Space(master=8, widths=(2, 4, 8), edge_width=8, layers=LAYERS)
DYNAMIC = Space(
    master=8, widths=(2, 4, 8), edge_width=8, layers=LAYERS, controller=(Layer("pick", 7, 7, 3, 4),), choices=(2, 8)
)


def pairs(plan: Any, space: Space = SPACE) -> list[tuple[int, int]]:
    fixed = resolve(space, plan)
    assert isinstance(fixed, Plan)
    assert tuple(fixed) == space.names
    return list(fixed.values())


def test_names_and_chosen_layers() -> None:
    assert SPACE.names == ("stem", "body.0", "body.1", "head")
    assert SPACE.chosen == ("body.0", "body.1")


@pytest.mark.parametrize("width", [2, np.int64(2), np.int8(2), torch.tensor(2)])
def test_a_width_is_every_layer_at_that_width_and_the_edges_at_theirs(width: Any) -> None:
    assert pairs(width) == [(8, 8), (2, 2), (2, 2), (8, 8)]
    assert resolve(SPACE, width) == uniform(SPACE, 2)


def test_no_plan_is_the_master() -> None:
    assert pairs(None) == [(8, 8)] * 4


def test_a_mapping_in_any_order_with_pairs_or_single_widths() -> None:
    plan: dict[str, Any] = {"head": 8, "body.1": (2, 4), "stem": [8, 8], "body.0": np.int64(4)}
    assert pairs(plan) == [(8, 8), (4, 4), (2, 4), (8, 8)]
    assert pairs(Plan.of(plan)) == pairs(plan)


def test_a_plan_is_a_frozen_hashable_mapping() -> None:
    plan = Plan.of({"a": 2, "b": (4, 8)})
    assert plan == Plan.of({"a": (2, 2), "b": (4, 8)})
    assert len({plan, Plan.of({"a": 2, "b": (4, 8)})}) == 1
    assert (plan["b"], len(plan), list(plan), "a" in plan, "c" in plan) == ((4, 8), 2, ["a", "b"], True, False)
    with pytest.raises(KeyError):
        plan["c"]
    with pytest.raises(AttributeError):
        plan.items_ = ()  # type: ignore[misc]


def test_auto_and_cascades_pass_through_where_they_fit() -> None:
    assert resolve(DYNAMIC, "auto") == AUTO
    cascade = Cascade((2, 8), (5,))
    assert resolve(SPACE, cascade) is cascade


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (3, r"width 3 of the plan is not one of the network's widths \(2, 4, 8\)"),
        (0, "width 0 of the plan"),
        (-1, "width -1 of the plan"),
        ("auto", r"plan \"auto\" needs a controller: prepare the network with Config\(controller=Controller\(\)\)"),
        ("fast", "plan 'fast': the only plan that is a word is \"auto\""),
        (True, 'plan of type bool: pass a width, a mapping, a dqt.Plan, a Cascade or "auto"'),
        (4.0, "plan of type float"),
        (np.float32(4), "plan of type float32"),
        (np.array([4, 4]), "plan of type ndarray"),
        (torch.tensor(4.0), "plan of type Tensor"),
        ([4, 4, 4, 4], "plan of type list"),
        ({}, "the plan misses 'stem', 'body.0', 'body.1' and 1 more: a plan gives a width to every layer"),
        ({"stem": 8, "body.0": 2, "head": 8}, "the plan misses 'body.1': a plan gives a width to every layer"),
        ({"stem": 8, "nose": 2}, "the plan names 'nose', which this network does not have; see its .layers"),
        (
            {"stem": 8, "body.0": 3, "body.1": 2, "head": 8},
            r"width 3 of layer body.0 is not one of the network's widths \(2, 4, 8\)",
        ),
        ({"stem": "8"}, "layer stem: '8' is neither a width nor a pair"),
        ({"stem": "88"}, "layer stem: '88' is neither a width nor a pair"),
        ({"stem": None}, "layer stem: None is neither a width nor a pair"),
        ({"stem": 8.0}, "layer stem: 8.0 is neither a width nor a pair"),
        ({"stem": True}, "layer stem: True is neither a width nor a pair"),
        ({"stem": (8, 8, 8)}, r"layer stem: \(8, 8, 8\) is neither a width nor a pair"),
        ({"stem": (8, 4.0)}, "the activation width of layer stem must be an integer, not 4.0"),
        ({"stem": (True, 4)}, "the weight width of layer stem must be an integer, not True"),
        (Cascade((2, 3), (1,)), "width 3 of the cascade is not one of"),
    ],
)
def test_what_is_not_a_plan_says_why(plan: Any, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        resolve(SPACE, plan)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"widths": ()}, r"widths \(\): need an ascending tuple without repeats, such as \(2, 4, 8\)"),
        ({"widths": (8, 4)}, r"widths \(8, 4\): need an ascending tuple"),
        ({"widths": (4, 4, 8)}, r"widths \(4, 4, 8\): need an ascending tuple"),
        ({"widths": (2, 8, 9)}, "width b=9 of master n=8"),
        ({"master": 4}, "width b=8 of master n=4"),
        ({"widths": (2, 4)}, r"master 8 is not among the widths \(2, 4\): add it to the configuration"),
        ({"edge_width": 6}, r"edge_width 6 is not among the widths \(2, 4, 8\)"),
        ({"choices": (2, 3)}, r"the controller's choices \(2, 3\) are not all among the widths \(2, 4, 8\)"),
        ({"layers": (LAYERS[0], LAYERS[0])}, "two layers share a name"),
    ],
)
def test_what_is_not_a_space_says_why(changes: dict[str, Any], message: str) -> None:
    fields: dict[str, Any] = {"master": 8, "widths": (2, 4, 8), "edge_width": 8, "layers": LAYERS, **changes}
    with pytest.raises(ValueError, match=message):
        Space(**fields)


def test_json_goes_there_and_back(tmp_path: Path) -> None:
    plan = Plan.of({"stem": 8, "body.0": (2, 4)})
    assert Plan.from_json(plan.to_json()) == plan
    plan.save(tmp_path / "plan.json")
    assert Plan.load(tmp_path / "plan.json") == plan
    assert json.loads(plan.to_json()) == {
        "format": "dqt-plan",
        "version": 1,
        "layers": {"stem": [8, 8], "body.0": [2, 4]},
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a plan must be JSON"),
        ("{", "a plan must be JSON"),
        ("[" * 100000, "a plan must be JSON"),  # deeper than the parser goes
        ("[]", 'not a plan: expected a JSON object with "format": "dqt-plan"'),
        ('{"format": "onnx"}', "not a plan"),
        ('{"format": "dqt-plan", "version": 2}', "plan version 2; this release reads version 1"),
        ('{"format": "dqt-plan"}', "plan version None; this release reads version 1"),
        ('{"format": "dqt-plan", "version": 1}', 'a plan needs "layers"'),
        ('{"format": "dqt-plan", "version": 1, "layers": [8]}', 'a plan needs "layers"'),
        ('{"format": "dqt-plan", "version": 1, "layers": {"a": "8"}}', "layer a: '8' is neither"),
        ('{"format": "dqt-plan", "version": 1, "layers": {"a": [8]}}', r"layer a: \[8\] is neither"),
        ('{"format": "dqt-plan", "version": 1, "layers": {"a": [8, 2.5]}}', "layer a must be an integer, not 2.5"),
    ],
)
def test_what_is_not_a_plan_file_says_why(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        Plan.from_json(text)
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(PlanError, match=rf"bad\.json: .*{message}"):
        Plan.load(path)


def test_a_plan_file_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PlanError, match=r"bad\.json: not a text file"):
        Plan.load(path)


def test_a_cascade_goes_to_json_and_back(tmp_path: Path) -> None:
    cascade, path = Cascade((2, 4, 8), (100, -1)), tmp_path / "cascade.json"
    assert Cascade.from_json(cascade.to_json()) == cascade
    cascade.save(path)
    assert Cascade.load(path) == cascade
    assert json.loads(path.read_text()) == {
        "format": "dqt-cascade",
        "version": 1,
        "widths": [2, 4, 8],
        "margins": [100, -1],
    }


def test_one_loader_takes_plans_and_cascades(tmp_path: Path) -> None:
    path = tmp_path / "kept.json"
    held: list[Plan | Cascade] = [Plan.of({"stem": 8, "body.0": (2, 4)}), Cascade((2, 8), (7,)), Cascade((4,), ())]
    for one in held:
        one.save(path)
        assert load_plan(path) == one
    neither = 'neither a plan nor a cascade: need a JSON object with "format": "dqt-plan" or "dqt-cascade"'
    version = '{"format": "dqt-cascade", "version": true, "widths": [4], "margins": []}'
    for text, message in (
        ("{", "a plan or cascade must be JSON"),
        ('{"format": "onnx"}', neither),
        ('{"format": []}', neither),
        ("[]", neither),
        (version, "cascade version True"),  # equal to 1 in Python, and no version
    ):
        path.write_text(text)
        with pytest.raises(PlanError, match=rf"kept\.json: {message}"):
            load_plan(path)
    with pytest.raises(FileNotFoundError):
        load_plan(tmp_path / "none.json")


def test_a_cascade_is_no_plan_and_a_plan_no_cascade(tmp_path: Path) -> None:
    path = tmp_path / "kept.json"
    Cascade((2, 8), (7,)).save(path)
    with pytest.raises(
        PlanError, match=r"kept\.json: a cascade, not a plan: load it with dqt\.Cascade\.load, or either"
    ):
        Plan.load(path)
    Plan.of({"stem": 8}).save(path)
    with pytest.raises(PlanError, match=r"kept\.json: a plan, not a cascade: load it with dqt\.Plan\.load, or either"):
        Cascade.load(path)


CASCADE = '{"format": "dqt-cascade", "version": 1'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a (plan or )?cascade must be JSON"),
        ('{"format": "dqt-cascade"}', "cascade version None; this release reads version 1"),
        (CASCADE + "}", 'a cascade needs "widths": a list of integers'),
        (CASCADE + ', "widths": [2, 8]}', 'a cascade needs "margins": a list of integers'),
        (CASCADE + ', "widths": 2, "margins": []}', 'a cascade needs "widths": a list'),
        (CASCADE + ', "widths": [2, 8], "margins": []}', "a cascade over 2 widths needs 1 margins"),
        (CASCADE + ', "widths": [8, 2], "margins": [1]}', "must ascend"),
        (CASCADE + ', "widths": [2, 8], "margins": [1.5]}', "a cascade's margin must be an integer, not 1.5"),
        (CASCADE + ', "widths": [2, true], "margins": [1]}', "a cascade's width must be an integer, not True"),
        (CASCADE + ', "widths": [], "margins": []}', "a cascade needs at least one width"),
        (CASCADE + ', "widths": [2], "widths": [4], "margins": []}', "'widths' stands twice in one JSON object"),
    ],
)
def test_what_is_not_a_cascade_file_says_why(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text)
    for load in (Cascade.load, load_plan):
        with pytest.raises(PlanError, match=rf"bad\.json: .*{message}"):
            load(path)


def test_a_plan_that_names_a_layer_twice_is_refused() -> None:
    text = '{"format": "dqt-plan", "version": 1, "layers": {"stem": [8, 8], "stem": [2, 2]}}'
    with pytest.raises(PlanError, match="'stem' stands twice in one JSON object: keep one"):
        Plan.from_json(text)


@pytest.mark.parametrize(
    ("widths", "margins", "message"),
    [
        ((), (), "a cascade needs at least one width"),
        ((2, 4, 8), (1,), "a cascade over 3 widths needs 2 margins"),
        ((2,), (1,), "a cascade over 1 widths needs 0 margins"),
        ((4, 2), (1,), r"cascade widths \(4, 2\) must ascend: the low width first"),
        ((2, 2), (1,), "must ascend"),
        ((2, 4.0), (1,), "a cascade's width must be an integer, not 4.0"),
        ((2, 4), (0.5,), "a cascade's margin must be an integer, not 0.5"),
        ((2, 4), (True,), "a cascade's margin must be an integer, not True"),
    ],
)
def test_what_is_not_a_cascade_says_why(widths: Any, margins: Any, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        Cascade(widths, margins)


def test_a_cascade_holds_plain_integers() -> None:
    cascade = Cascade([2, np.int64(8)], [np.int32(5)])  # type: ignore[arg-type]
    assert cascade == Cascade((2, 8), (5,))
    assert [type(v) for v in (*cascade.widths, *cascade.margins)] == [int, int, int]


@pytest.mark.parametrize("wrong", [{"a": 4}, [("a", (4, 4))], "a"])
def test_a_plan_is_made_of_a_mapping_by_its_constructor_alone(wrong: Any) -> None:
    with pytest.raises(PlanError, match=r"dqt\.Plan\.of\(\{name: width"):
        Plan(wrong)


@pytest.mark.parametrize("wrong", [[4, 4], 4, "48", None])
def test_what_is_no_mapping_makes_no_plan(wrong: Any) -> None:
    with pytest.raises(PlanError, match="a plan is made of a mapping"):
        Plan.of(wrong)


@pytest.mark.parametrize(("widths", "margins"), [(2, (1,)), ((2, 4), 1), ("24", (1,)), (None, None)])
def test_what_is_no_series_makes_no_cascade(widths: Any, margins: Any) -> None:
    with pytest.raises(PlanError, match="must be a series of integers"):
        Cascade(widths, margins)
