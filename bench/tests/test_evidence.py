"""The driver of the long experiments, on a run of seconds; the tables of results are what the records give."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dqt
from bench.evidence import frontier, judging, records, training
from bench.evidence.__main__ import main
from bench.evidence.records import Point, Record
from bench.pages import controller, results, targets
from dqt.arith.plan import uniform
from dqt.train.recipe import load_run

TINY = """
[model]
factory = "dqt.train.models:digits_cnn"
args = {{ planes = [4, 4, 8] }}

[data]
spec = "npz=data/tiny.npz"
valid = 40

[network]
widths = [2, 4, 8]
{controller}

[recipe]
epochs = 1
batch_size = 32
reestimate_batches = 2
{more}
"""


def arguments(folder: Path, verb: str, name: str) -> list[str]:
    places = {"--data": folder, "--runs": folder / "runs", "--results": folder / "results"}
    return [verb, str(folder / name), *(str(part) for pair in places.items() for part in pair)]


def write(folder: Path, name: str, controller: str = "", more: str = "") -> None:
    (folder / name).write_text(TINY.format(controller=controller, more=more))


def test_every_recipe_is_a_run_file_with_images_held_out() -> None:
    assert set(training.names()) == set(results.EVERYTHING)
    for name in training.names():
        run = training.run_of(name)
        assert run.data.valid == 5000
        assert run.data.spec.partition("=")[2].startswith(training.PREFIX)


@pytest.mark.parametrize("b", [4, 3, 2])
def test_a_model_of_one_width_trains_that_width_alone_and_its_edges_are_as_wide_as_in_the_nested_one(b: int) -> None:
    from dqt.train.build import network
    from dqt.train.loss import passes

    run = load_run(training.RECIPES / f"dedicated-{b}.toml")
    run = run.model_copy(update={"model": run.model.model_copy(update={"weights": None})})
    net = network(run, (3, 32, 32))
    (only,) = passes(net.space, run.recipe, 0)
    assert only.plan is None  # the controller's, whose one choice is b
    assert net.space.choices == (b,)
    nested = load_run(training.RECIPES / "any-width.toml").network
    assert net.space.edge_width == nested.edge_width == 8
    assert {w for w, _ in uniform(net.space, b).values()} == {b, 8}


def test_a_run_is_trained_judged_and_goes_on_where_it_was(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, "tiny.toml", "controller = { choices = [2, 8] }", "bitops = 0.5")
    assert main(arguments(folder, "run", "tiny.toml")) == 0
    first = (folder / "results" / "tiny-s0.json").read_text()
    assert str(folder) not in first
    record = records.load(folder / "results" / "tiny-s0.json")
    kinds = [point.kind for point in record.points]
    assert kinds[:5] == ["uniform", "uniform", "uniform", "auto", "dealt"]
    assert record.of("auto")[0].share == record.of("dealt")[0].share
    assert "plan" in kinds
    assert record.controller is not None
    assert record.training.finished
    assert record.training.started[0]["machine"]["processor"]
    capsys.readouterr()
    assert main(arguments(folder, "run", "tiny.toml")) == 0
    assert capsys.readouterr().out == ""  # nothing was judged again
    assert records.load(folder / "results" / "tiny-s0.json").points == record.points
    assert main(arguments(folder, "time", "tiny.toml")) == 0
    timed = records.load(folder / "results" / "tiny-s0.json")
    assert all((point.ms is None) == (point.kind == "dealt") for point in timed.points)
    assert timed.timed is not None
    assert timed.timed["images"] == record.images["test"]
    assert main(arguments(folder, "run", "tiny.toml")) == 0
    again = records.load(folder / "results" / "tiny-s0.json")
    assert again == timed.model_copy(update={"judged": again.judged})  # which says how busy the machine is now


def test_a_folder_of_another_recipe_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, "tiny.toml")
    assert main(arguments(folder, "run", "tiny.toml")) == 0
    write(folder, "tiny.toml", more="lr = 0.5")
    assert main(arguments(folder, "judge", "tiny.toml")) == 1
    assert "recipe.lr" in capsys.readouterr().err


def test_a_float_run_and_a_run_of_one_name_have_folders_of_their_own(tmp_path: Path) -> None:
    own = training.place("fashion", None, tmp_path, None, None, tmp_path)
    rival = training.place("fashion", None, tmp_path, None, None, tmp_path, training.FLOATS)
    assert own.folder.name == "fashion-s0"
    assert rival.folder.name == "float-fashion-s0"


def test_a_cascade_is_the_best_that_calibrate_cascade_finds(folder: Path) -> None:
    write(folder, "tiny.toml")
    where = training.place(str(folder / "tiny.toml"), None, folder, None, None, folder / "runs")
    training.train(where)
    judged = judging.Judging(where, folder / "results")
    x, y = judged.held_out()
    budget = 0.4
    tried = []
    for widths in ((2, 4), (2, 8), (4, 8), (2, 4, 8)):
        cascade = dqt.calibrate_cascade(judged.program, [(x, y)], widths, budget)
        found = frontier.trials_of(judged, widths).score(cascade.margins)
        tried.append((-found[0], found[1], cascade))
    best = min(tried, key=lambda each: each[:2])
    chosen = frontier.choose(judged, budget)
    assert chosen is not None
    assert chosen == (best[2], -best[0])
    assert frontier.choose(judged, 0.001) is None


def record(name: str, seed: int, points: list[Point], **more: Any) -> Record:
    machine = {"processor": "a processor (family 1)", "cores": 2, "date": "2026-01-01"}
    done: dict[str, Any] = {
        "epochs": 3,
        "epochs_done": 3,
        "seconds": 600.0,
        "started": (),
        "validation": (),
        "warnings": 0,
    } | more
    return Record(
        name=name,
        seed=seed,
        recipe={},
        training=records.Training(**done),
        images={},
        checkpoint={"file": "best.ckpt", "epoch": 3, "sha256": "0"},
        program_bytes=1,
        judged={"commit": "c0ffee", "machine": machine, "engine": "dqt.interpret"},
        points=tuple(points),
    )


def uniforms(low: float, three: float, high: float) -> list[Point]:
    rows = ((2, low, 0.073), (3, three, 0.15), (8, high, 1.0))
    return [Point(label=f"{b} bits", kind="uniform", accuracy=a, share=s, bits=b) for b, a, s in rows]


def test_the_page_holds_the_numbers_and_says_what_is_met_missed_and_not_yet_run(tmp_path: Path) -> None:
    cascades = [
        Point(label="a", kind="cascade", accuracy=0.9124, share=0.149, widths=(2, 5), margins=(7,), budget=0.15),
        Point(label="b", kind="cascade", accuracy=0.9999, share=0.151, widths=(2, 8), margins=(7,), budget=0.15),
    ]
    for each in (
        record(targets.BASE, 0, [*uniforms(0.8912, 0.9034, 0.9178), *cascades]),
        record(targets.BASE, 1, uniforms(0.8934, 0.9036, 0.9180), epochs_done=2),
    ):
        each.save(records.path_of(each.name, each.seed, tmp_path / "json"))
    page = "\n".join(results.blocks(tmp_path / "json").values())
    for row in (
        f"| {targets.BASE} at 8 bits | at least 91.7 % | 91.78 | met |",
        f"| {targets.BASE} at 3 bits | at least 90.8 % | 90.34 | **missed** |",
        f"| {targets.BASE} at 4 bits | at least 91.3 % |  | not yet run |",
        "| dynamic above uniform widths at the BitOPs of uniform 3 bits | at least 0.9 points | 0.90 | met |",
        "| cascade | 2 then 5 | 0 | 15 | 14.90 | 91.24 | 90.32 |",
    ):
        assert row in page
    assert f"In training, and in no table above: {targets.BASE} (seed 1)" in page
    assert "a processor, 2 cores, 2026-01-01" in page
    results.draw(tmp_path / "docs", tmp_path / "json")
    drawn = {"widths.svg", "dynamic.svg", *(f"time-{name}.svg" for name in controller.timed())}
    assert {path.name for path in (tmp_path / "docs" / "results").iterdir()} == drawn
    first = (tmp_path / "docs" / "results" / "widths.svg").read_bytes()
    results.draw(tmp_path / "docs", tmp_path / "json")
    assert (tmp_path / "docs" / "results" / "widths.svg").read_bytes() == first


def test_resnet18_is_held_against_its_own_float_network(tmp_path: Path) -> None:
    points = [*uniforms(0.93, 0.94, 0.951), Point(label="4 bits", kind="uniform", accuracy=0.95, share=0.25, bits=4)]
    record("resnet18", 0, points).save(records.path_of("resnet18", 0, tmp_path / "json"))
    machine = {"processor": "a processor", "cores": 16, "accelerator": "a GPU", "date": "2026-01-01"}
    made = records.FloatRecord(
        name="cifar10-resnet18", seed=0, recipe={}, started=({"commit": "c0ffee", "machine": machine},), seconds=900.0,
        losses=(1.0, 0.5), images={"train": 50_000, "test": 10_000}, weights="0", accuracy=0.9531,
    )  # fmt: skip
    made.save(records.float_path_of(made.name, 0, tmp_path / "json"))
    page = "\n".join(results.blocks(tmp_path / "json").values())
    for row in (
        "| ResNet-18, float | at least 95 % | 95.31 | met |",
        "| resnet18 at 4 bits below its float network | at most 0.3 points | 0.31 | **missed** |",
        "| resnet18 at 2 bits below its float network | at most 1.5 points | 2.31 | **missed** |",
        "| resnet18 at 4 bits | at least 92.6 % | 95.00 | met |",
        "| uniform | 95.31 | 1 | 95.10 |  |  |  | 95.00 | 94.00 | 93.00 |",
        "| at about uniform 3 bits | not yet run |",
        "| cifar10-resnet18 | 0 | 2 of 2 | 15 | c0ffee | c0ffee | torch | a processor, 16 cores, a GPU, 2026-01-01 |",
    ):
        assert row in page


def test_the_fastest_way_to_the_accuracy_of_8_bits_is_chosen_on_held_out_images(tmp_path: Path) -> None:
    times, held_out = {2: 0.2, 3: 0.3, 8: 0.4}, {2: 0.91, 3: 0.93, 8: 0.94}
    points = [
        p.model_copy(update={"ms": times[p.bits or 0], "held_out": held_out[p.bits or 0]})
        for p in uniforms(0.9, 0.93, 0.94)
    ]
    for label, accuracy, seen, ms in (("a", 0.935, 0.9390, 0.25), ("b", 0.95, 0.9389, 0.21)):  # b loses 0.11 points
        more: dict[str, Any] = {"kind": "cascade", "share": 0.12, "widths": (2, 8), "margins": (7,), "budget": 0.12}
        points.append(Point(label=label, accuracy=accuracy, held_out=seen, ms=ms, **more))
    made = record("wide", 0, points)
    made.model_copy(update={"timed": {"batch": 32, "images": 2048, "machine": made.judged["machine"]}}).save(
        records.path_of("wide", 0, tmp_path / "json")
    )
    page = "\n".join(results.blocks(tmp_path / "json").values())
    for row in (
        "on held-out images: time over that of 8 bits | at most 0.65  | 0.62 | met |",
        "on held-out images: below 8 bits on test images | at most 0.1 points | 0.50 | **missed** |",
        "| time, 8 bits = 1 |  | 1.00 | 0.75 | 0.50 |",
        "| cascade | 2 then 8 | 93.90 | 12.00 | 93.50 | 91.83 | 0.62 |",
        "the cascade 2 then 8 is\nfastest. On the test images it takes 0.62 of the time of 8 bits and is 0.50 points",
    ):
        assert row in page
    results.draw(tmp_path / "docs", tmp_path / "json")
    assert {path.name for path in (tmp_path / "docs" / "results").iterdir()} == {"time-wide.svg", "wide.svg"}


def test_the_recipes_of_resnet18_for_one_epoch_of_few_images_on_the_cpu(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    parts: dict[str, Any] = {}
    for part, count in (("train", 32), ("test", 4)):
        parts[f"x_{part}"] = rng.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)
        parts[f"y_{part}"] = np.arange(count) % 10
    np.savez(tmp_path / "few.npz", **parts)
    for verb, recipe in (
        ("float", training.FLOATS / "cifar10-resnet18.toml"),
        ("run", training.RECIPES / "resnet18.toml"),
        ("run", training.RECIPES / "resnet18-dynamic.toml"),
    ):
        text = recipe.read_text().replace("cifar10=data/cifar-10-batches-bin", "npz=data/few.npz")
        text = text.replace("[model]", "[model]\nargs = { planes = [8, 16, 24, 32] }")  # bfloat16 may be emulated
        for key, value in (("valid", 12), ("epochs", 1), ("batch_size", 10)):
            text = re.sub(rf"^{key} = .*$", f"{key} = {value}", text, flags=re.MULTILINE)
        (tmp_path / recipe.name).write_text(text)
        assert main(arguments(tmp_path, verb, recipe.name)) == 0
    assert records.load_floats(tmp_path / "results")[0].images == {"train": 32, "test": 4}
    network, controller = (
        records.load(tmp_path / f"results/{name}-s0.json") for name in ("resnet18", "resnet18-dynamic")
    )
    assert len(network.of("uniform")) == 7
    assert [len(controller.of(kind)) for kind in ("auto", "dealt", "cascade")] == [1, 1, 1]


def test_within_a_budget_the_most_expensive_cascade_counts_and_not_the_best() -> None:
    points = [
        Point(label=str(i), kind="cascade", accuracy=a, share=s) for i, (a, s) in enumerate(((0.99, 0.1), (0.9, 0.2)))
    ]
    found = targets.dearest(points, 0.25)
    assert found is not None
    assert found.accuracy == 0.9
    assert targets.dearest(points, 0.05) is None


def test_a_measure_is_its_base_with_one_setting_changed() -> None:
    base = training.run_of(training.BASE).as_dict()
    for name in (name for name in training.names() if name.startswith("measure-") and name != training.BASE):
        changed = training.run_of(name).as_dict()
        differing = [key for part in base for key in base[part] or () if base[part][key] != changed[part][key]]
        assert len(differing) == 1, name


def test_a_record_of_its_own_goes_before_a_line_of_the_measures(tmp_path: Path) -> None:
    old, other, new = (record("measure-a", seed, uniforms(a, 0.8, 0.9)) for seed, a in ((0, 0.5), (1, 0.6), (0, 0.7)))
    (tmp_path / records.MEASURES).write_text(f"{old.model_dump_json()}\n{other.model_dump_json()}\n")
    assert records.load_all(tmp_path) == [old, other]
    new.save(records.path_of("measure-a", 0, tmp_path))
    assert records.load_all(tmp_path) == [new, other]
