"""results.json: read back as written, and clear about what is wrong with it."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from dqt.report.results import FILE, Results, ResultsError, Row, frontier, load_results, mean_width, save_results
from tests.report.build import NAMES, other, plain, results, sample, uniform


def test_there_and_back(tmp_path: Path) -> None:
    file = save_results(results(), tmp_path)
    assert file == tmp_path / FILE
    assert load_results(tmp_path) == load_results(file) == results()
    assert json.loads(file.read_text())["version"] == 1


def test_a_row_differs_where_a_compared_sample_does() -> None:
    rows = [uniform(8), uniform(4) | {"served": {"samples": 64, "equal": 64}}]
    rows.append(uniform(2) | {"served": {"samples": 64, "equal": 63}})
    assert [row.differs for row in results(rows=rows).rows] == [False, False, True]


def without(key: str) -> dict[str, Any]:
    data = plain()
    del data[key]
    return data


def one_row(**changes: Any) -> dict[str, Any]:
    return plain(rows=[uniform(8) | changes])


def one_sample(**changes: Any) -> dict[str, Any]:
    return plain(auto={"histogram": {}, "samples": [sample(0) | changes]})


LAYER = {"name": "a", "macs": 1, "weights": 1, "accumulator_bits": 8}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "Input should be an object"),
        (without("rows"), "rows: Field required"),
        (plain(version=2), "version: 2; this release reads version 1"),
        (plain(rows=[uniform(8) | {"share": 1e300}]), "rows.0.share: Input should be less than or equal to"),
        (plain(colour="red"), "colour: Extra inputs are not permitted"),
        (plain(samples=0), "samples: Input should be greater than or equal to 1"),
        (plain(layers=[]), "layers: Tuple should have at least 1 item"),
        (plain(rows=[]), "rows: Tuple should have at least 1 item"),
        (
            plain(layers=[LAYER, LAYER], rows=[other("x", "auto", 4, 0.9) | {"widths": {}}]),
            "two layers are called 'a'",
        ),
        (plain(rows=[uniform(8), uniform(8)]), "two rows are called '8 bits'"),
        (one_row(accuracy_integer=97.2), "rows.0.accuracy_integer: Input should be less than or equal to 1"),
        (one_row(agreement=-0.1), "rows.0.agreement: Input should be greater than or equal to 0"),
        (one_row(kind="best"), "rows.0.kind: Input should be 'uniform', 'plan', 'auto', 'cascade' or 'random'"),
        (one_row(bits=None), 'rows.0: a row of kind "uniform" needs "bits"'),
        (one_row(bits=9), "rows.0.bits: Input should be less than or equal to 8"),
        (one_row(share=0), "rows.0.share: Input should be greater than 0"),
        (one_row(served={"samples": 64, "equal": 65}), "rows.0.served: 65 equal samples of 64"),
        (one_row(served={"samples": 0, "equal": 0}), "rows.0.served.samples: Input should be greater than or equal"),
        (plain(engine="abacus"), "engine: Input should be 'native' or 'interpret'"),
        (one_row(widths={"nose": [2, 2]}), "row '8 bits': widths must name every layer, and no other"),
        (plain(auto={"histogram": {"nose": {"2": 1}}}), "auto.histogram names 'nose', which is not a layer"),
        (plain(auto={"histogram": {NAMES[1]: {"2": 0}}}), "auto.histogram of 'layer1.0.conv1' counts no sample"),
        (plain(auto={"histogram": {NAMES[1]: {"9": 1}}}), "less than or equal to 8"),
        (one_sample(widths=[8]), "auto.samples.0: 1 widths for 14 layers"),
        (one_sample(image="AAAA"), "auto.samples.0: image is text, but not the base64 of a PNG file"),
        (one_sample(image="not base64!"), "auto.samples.0: image is text, but not the base64 of a PNG file"),
        (one_sample(image=[]), "auto.samples.0: image needs at least one row, and rows of one length"),
        (one_sample(image=[[1, 2], [3]]), "auto.samples.0: image needs at least one row, and rows of one length"),
        (one_sample(image=[[[1, 2]]]), "auto.samples.0: a colour image needs three values a pixel"),
        (one_sample(image=[[256]]), "auto.samples.0.image"),
        (one_sample(difficulty="odd"), "auto.samples.0.difficulty: Input should be 'easy', 'hard' or 'between'"),
        (plain(auto={"histogram": {}, "by_sample": ["88"]}), "auto.by_sample.0: 2 widths for 14 layers"),
        (plain(auto={"histogram": {}, "by_sample": ["9" * 14]}), "auto.by_sample.0: String should match pattern"),
        (one_row(time={"ms": 0, "p10": 1, "p90": 1}), "rows.0.time.ms: Input should be greater than 0"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, data: Any, message: str) -> None:
    (tmp_path / FILE).write_text(json.dumps(data))
    with pytest.raises(ResultsError) as caught:
        load_results(tmp_path)
    assert message in str(caught.value)
    assert str(tmp_path / FILE) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "\x00", '{"samples": NaN}', "[" * 10000])
def test_what_is_not_json(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(ResultsError, match=FILE):
        load_results(tmp_path)


def test_what_is_not_text(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"\xff\xfe\xfd")
    with pytest.raises(ResultsError, match=FILE):
        load_results(tmp_path / FILE)


def test_a_folder_without_results(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match=r"results\.json: No such file or directory: a run folder holds a results"):
        load_results(tmp_path)


def test_a_png_is_taken_as_it_is() -> None:
    png = base64.b64encode(b"\x89PNG\r\n\x1a\n rest").decode()
    loaded = Results.model_validate(one_sample(image=png))
    assert loaded.auto is not None
    assert loaded.auto.samples[0].image == png


def row(label: str, bitops: float, accuracy: float) -> Row:
    return Row(label=label, kind="plan", accuracy_integer=accuracy, bitops=bitops, share=bitops / 100)


def test_the_frontier_keeps_what_nothing_beats() -> None:
    rows = [
        row("dear and worse", 90, 0.90),
        row("cheap", 10, 0.80),
        row("as good and dearer", 60, 0.95),
        row("good", 50, 0.95),
        row("as cheap and worse", 50, 0.94),
        row("best", 100, 0.96),
    ]
    assert [r.label for r in frontier(rows)] == ["cheap", "good", "best"]
    assert frontier([]) == ()


def test_mean_width() -> None:
    assert mean_width({2: 3, 8: 1}) == 3.5
