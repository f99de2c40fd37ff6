"""From evaluations to results: what is counted, and what is compared."""

from __future__ import annotations

import base64
import io
from functools import cache

import numpy as np
import pytest
from PIL import Image

from dqt.arith.cost import cost
from dqt.arith.plan import Plan
from dqt.program.evaluate import Comparison, Evaluation, evaluate
from dqt.program.planned import accumulator_bits
from dqt.program.program import Program
from dqt.report.collect import COLUMNS, SHOWN, THUMBNAIL, auto_of, results_of, row_of, timed, uniform_at
from dqt.report.records import Served
from dqt.runtime.timing import timed as room
from dqt.testing import Builder, inputs


@cache
def classifier() -> Program:
    b = Builder(10, (2, 6, 6))
    x = b.conv(b.conv("v0", 8), 8)
    return b.build(b.linear(b.flatten(b.conv(x, 2)), 4, integers=True))


def test_a_row_counts_right_answers_and_agreement() -> None:
    program = classifier()
    found = evaluate(program, inputs(program, 10), 4)
    labels, trained = found.predictions.copy(), found.predictions.copy()
    labels[:3] += 1
    trained[0] += 1
    row = row_of(program, "4 bits", "uniform", found, labels, bits=4, trained=np.eye(5)[trained])
    assert (row.accuracy_integer, row.agreement) == (0.7, 0.9)
    assert row.accuracy_trained == 0.8  # sample 0 was wrong in the program alone
    assert row.bitops == cost(program, 4).bitops
    assert set(row.widths) == set(program.layers)


def test_a_row_keeps_the_comparison_with_the_interpreter() -> None:
    program = classifier()
    found = evaluate(program, inputs(program, 10), 4)
    row = row_of(program, "4 bits", "uniform", found, found.predictions, bits=4, served=Comparison(10, 9))
    assert row.served == Served(samples=10, equal=9)
    results = results_of(program, [row], name="n", data="d", samples=10, model_bytes=7, auto=None, engine="native")
    assert results.engine == "native"


def test_a_plan_shows_both_widths() -> None:
    program = classifier()
    plan = Plan.of(dict.fromkeys(program.layers, (8, 4)))
    found = evaluate(program, inputs(program, 4), plan)
    row = row_of(program, "p", "plan", found, found.predictions, plan=plan)
    assert set(row.widths.values()) == {(8.0, 4.0)}
    assert row.accuracy_trained is row.agreement is None


def fake(program: Program, count: int) -> Evaluation:
    """As a controller might choose: sample i costs i, and has 2 + i % 3 bits everywhere."""
    widths = np.repeat(2 + np.arange(count)[:, None] % 3, len(program.layers), axis=1).astype(np.int8)
    return Evaluation(np.zeros(count, np.int64), widths, np.arange(count), 0.5, np.zeros((count, 4), np.int32))


@pytest.mark.parametrize(("channels", "count"), [(1, 40), (3, 40), (1, 5)])
def test_auto_shows_the_cheapest_and_the_dearest(channels: int, count: int) -> None:
    program = classifier()
    images = np.arange(count * channels * 4, dtype=np.uint8).reshape(count, channels, 2, 2)
    labels = np.arange(count) % 3
    auto = auto_of(program, fake(program, count), labels, images)
    shown = min(SHOWN, count // 2)
    between = min(SHOWN, count - 2 * shown)
    said = [sample.difficulty for sample in auto.samples]
    assert said == ["easy"] * shown + ["hard"] * shown + ["between"] * between
    assert [int(sample.label) for sample in auto.samples[:shown]] == labels[:shown].tolist()
    assert [int(sample.label) for sample in auto.samples[shown : 2 * shown]] == labels[::-1][:shown].tolist()
    assert all(sum(counts.values()) == count for counts in auto.histogram.values())
    assert set(auto.histogram) == set(program.space.chosen)
    assert list(auto.by_sample) == [str(2 + i % 3) * len(program.layers) for i in range(count)]  # all: by rising cost


def test_many_samples_are_spread_and_large_images_are_made_small() -> None:
    program = classifier()
    images = np.random.default_rng(0).integers(0, 256, (500, 3, 200, 150), dtype=np.uint8)
    auto = auto_of(program, fake(program, 500), np.zeros(500, np.int64), images)
    assert len(auto.by_sample) == COLUMNS
    assert auto.by_sample[0] == str(2 + 0 % 3) * len(program.layers)
    assert auto.by_sample[-1] == str(2 + 499 % 3) * len(program.layers)
    for sample in auto.samples:
        assert isinstance(sample.image, str)
        with Image.open(io.BytesIO(base64.b64decode(sample.image))) as picture:
            assert picture.size == (96, THUMBNAIL)


def test_times_are_those_of_their_rows() -> None:
    program = classifier()
    found = evaluate(program, inputs(program, 4), 8)
    rows = [row_of(program, f"{b} bits", "uniform", found, found.predictions, bits=b) for b in (8, 2)]
    results = results_of(program, rows, name="n", data="d", samples=4, model_bytes=7, auto=None)
    plans = {"8 bits": 8, "another": 2}
    seconds, words = room(program, plans, inputs(program, 4), samples=2)
    assert words.endswith(", one thread, one sample a call")
    made = timed(results, {label: (each.median, each.p10, each.p90) for label, each in seconds.items()}, words)
    assert made.rows[1].time is None
    assert made.rows[0].time is not None
    assert 0 < made.rows[0].time.p10 <= made.rows[0].time.ms <= made.rows[0].time.p90
    assert made.timing == words


def test_samples_that_are_no_pictures_are_not_shown() -> None:
    program = classifier()
    labels = np.zeros(9, np.int64)
    assert auto_of(program, fake(program, 9), labels).samples == ()
    assert auto_of(program, fake(program, 9), labels, np.zeros((9, 2, 3, 3), np.uint8)).samples == ()


def test_results_carry_what_was_proved_of_each_layer() -> None:
    program = classifier()
    found = evaluate(program, inputs(program, 4), 8)
    rows = [row_of(program, "8 bits", "uniform", found, found.predictions, bits=8)]
    results = results_of(program, rows, name="n", data="d", samples=4, model_bytes=7, auto=None)
    assert {layer.name: layer.accumulator_bits for layer in results.layers} == {
        name: accumulator_bits(program)[name] for name in program.layers
    }


def test_uniform_widths_are_interpolated_between_neighbours() -> None:
    program = classifier()
    rows = []
    for b, right in ((2, 2), (8, 4)):
        found = evaluate(program, inputs(program, 4), b)
        labels = found.predictions + (np.arange(4) >= right)
        rows.append(row_of(program, f"{b} bits", "uniform", found, labels, bits=b))
    low, high = (row.share for row in rows)
    assert uniform_at(rows, (low + high) / 2) == pytest.approx(0.75)
    assert uniform_at(rows, low / 2) == 0.5
    assert uniform_at(rows, 2.0) == 1.0
