"""The page and the tables, rendered from synthetic results."""

import re
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dqt.report import markdown, write_page
from dqt.report.axes import AXES, BITOPS, BYTES, TIME, axes_of, cost_scale, points
from dqt.report.chart import NARROW, WIDE, Size, chart
from dqt.report.compare import pairs
from dqt.report.html import shade
from dqt.report.page import headline, page
from dqt.report.plots import COLOURS, _figure, save_picture, save_pictures
from dqt.report.results import Results, ResultsError
from dqt.report.tables import (
    AGREEMENT,
    SERVED,
    TRAINED,
    columns,
    percent,
    quantity,
    row_head,
    verdict,
    weight_bytes,
)
from tests.report.build import NAMES, NASTY, other, plain, results, sample, times, uniform

VOID = {"meta", "img", "br", "link", "input"}


class Reader(HTMLParser):
    """Collects elements, checks that they nest, and keeps every attribute that could fetch something."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.count: dict[str, int] = {}
        self.fetched: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.count[tag] = self.count.get(tag, 0) + 1
        if tag not in VOID:
            self.open.append(tag)
        self.fetched += [v or "" for k, v in attrs if k in {"src", "href", "xlink:href", "srcset", "data", "action"}]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    return reader


def test_the_page_is_whole_and_fetches_nothing(tmp_path: Path) -> None:
    write_page(results(), tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    reader = read(text)
    assert reader.count["script"] == 1
    assert "link" not in reader.count
    assert all(url.startswith("data:image/png;base64,") for url in reader.fetched)
    assert not re.search(r"url\((?!#)|@import|https?://(?!www\.w3\.org/)", text)  # namespaces are names, not addresses
    assert "Content-Security-Policy" in text
    assert "prefers-color-scheme: dark" in text


def test_the_page_shows_everything() -> None:
    text = page(results())
    reader = read(text)
    assert text.count("<svg class='chart") == 4  # against BitOPs and bytes, for pages and for phones
    assert reader.count["img"] >= 24
    assert reader.count["h2"] == 8
    for expected in (*NAMES, "cascade 2, 8", "searched plan, 25 %", "97.35 %", "read as 3", "15.0 %", "54.3 kB"):
        assert expected in reader.text


@pytest.mark.parametrize("kind", ["plan", "auto"])
def test_names_are_text_whatever_they_contain(kind: str) -> None:
    nasty = plain(name=NASTY, data=NASTY)
    nasty["rows"][0]["label"] = NASTY + " $x^2$"
    nasty["auto"]["samples"][0] |= {"label": NASTY, "prediction": NASTY + kind}
    for layer in nasty["layers"]:
        layer["name"] = layer["name"] + NASTY
    for row in nasty["rows"]:
        row["widths"] = {name + NASTY: widths for name, widths in row["widths"].items()}
    nasty["auto"]["histogram"] = {name + NASTY: counts for name, counts in nasty["auto"]["histogram"].items()}
    loaded = results(**nasty)
    reader = read(page(loaded))
    assert reader.count["script"] == 1
    assert NASTY in reader.text
    lines = [line for line in markdown(loaded).splitlines() if line.startswith("| ")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} <= {8, 5, 7}  # a bar in a name opens no column


def test_a_small_result_has_a_small_page() -> None:
    small = results(rows=[uniform(8) | {"widths": {}}], auto=None)
    reader = read(page(small))
    assert reader.count["h2"] == 3
    assert "img" not in reader.count
    assert "## Widths" not in markdown(small)


def test_only_easy_inputs() -> None:
    easy = results(auto={"histogram": {NAMES[1]: {"2": 3, "4": 0}}, "samples": [sample(0), sample(1)]})
    text = read(page(easy)).text
    assert "Easiest" in text
    assert "Hardest" not in text


def test_the_chart_takes_its_colours_from_the_page() -> None:
    svg = chart(BITOPS, WIDE, results())
    assert not re.search(r"#[0-9a-fA-F]{3}|rgb", svg)
    for kind in ("uniform", "plan", "auto", "cascade", "random"):
        assert f"class='point {kind} run-0'" in svg
    assert len(set(COLOURS.values())) == len(COLOURS)


def test_a_chart_for_each_cost_that_is_known() -> None:
    assert axes_of(results()) == (BITOPS, BYTES)
    timed = Results.model_validate(times())
    assert axes_of(timed) == AXES
    assert len(points(timed, TIME)) == 7  # auto was not timed
    text = page(timed)
    assert text.count("<svg class='chart") == 6
    assert text.count("type='radio'") == 3
    assert "milliseconds for a sample (one thread)" in text
    assert "1 ms" in text
    alone = results(rows=[uniform(8) | {"widths": {}}])
    assert axes_of(alone) == (BITOPS,)
    assert "type='radio'" not in page(alone)


def boxes(svg: str, size: Size) -> list[tuple[float, float, float]]:
    """Left, right and base line of each label."""
    found = re.findall(r"<text class='label \w+' x='([\d.]+)' y='([\d.]+)' text-anchor='middle'>(.*?)</text>", svg)
    halves = [(float(x), float(y), 0.27 * size.type * len(text)) for x, y, text in found]
    return [(x - half, x + half, y) for x, y, half in halves]


@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_labels_lie_on_no_other_and_inside(size: Size) -> None:
    found = boxes(chart(BITOPS, size, results()), size)
    assert len(found) >= 6
    for i, (left, right, y) in enumerate(found):
        assert 0 <= left < right <= size.width
        for other_left, other_right, other_y in found[:i]:
            assert right <= other_left or other_right <= left or abs(y - other_y) >= size.type


@pytest.mark.parametrize(
    ("values", "low", "high"), [([7, 100], 1, 9), ([3.0], 1, 9), ([1, 1.01], 1, 9), ([1e-3, 1e9], 1, 9)]
)
def test_scales_have_ticks_and_hold_every_value(values: list[float], low: int, high: int) -> None:
    scale = cost_scale(values, 9)
    assert low <= len(scale.ticks) <= high
    assert all(0 <= scale.place(value) <= 1 for value in (*values, *scale.ticks))


def test_the_same_results_give_the_same_page() -> None:
    assert page(results()) == page(results())


def test_every_colour_is_in_the_style_sheet_twice() -> None:
    text = page(results())
    for role in COLOURS:
        assert len(re.findall(rf"--{role}: #", text)) == 2  # light and dark


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_a_picture_for_documents(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"chart.{suffix}"
    save_picture(results(), path)
    if suffix == "png":
        with Image.open(path) as image:
            assert image.size[0] > 1000
    else:
        assert COLOURS["auto"] in path.read_text()


def test_every_picture_for_a_paper(tmp_path: Path) -> None:
    found = save_pictures(Results.model_validate(times()), tmp_path / "new" / "pictures")
    names = ["accuracy-bitops", "accuracy-time", "accuracy-bytes", "widths", "widths-by-sample"]
    assert [path.stem for path in found] == names
    for path in found:
        with Image.open(path) as image:
            assert image.size[0] == 1640
    both = save_pictures(results(), tmp_path, results(name="another"))
    assert [path.stem for path in both] == ["accuracy-bitops", "accuracy-bytes", "widths", "widths-by-sample"]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([uniform(8)], "8 bits: 97.60 % top-1 in integers alone."),
        (
            [uniform(8), other("auto", "auto", 4.0, 0.97)],
            "8 bits: 97.60 % top-1 in integers alone. auto: 97.00 % at 4.0 times fewer BitOPs.",
        ),
        ([uniform(8), uniform(2)], "8 bits: 97.60 % top-1 in integers alone."),  # 2 bits is over a point away
    ],
)
def test_the_headline(rows: list[dict[str, Any]], expected: str) -> None:
    assert headline(results(rows=rows)) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "0"),
        (7, "7"),
        (999, "999"),
        (1000, "1.00 k"),
        (54321, "54.3 k"),
        (999_499, "999 k"),
        (999_500, "1.00 M"),  # no "1000 k"
        (40_551_424, "40.6 M"),
        (2.5e15, "2.50 P"),
        (0.5, "0.500"),
    ],
)
def test_quantities(value: float, expected: str) -> None:
    assert quantity(value) == expected


def test_a_unit_follows_its_prefix() -> None:
    assert (quantity(12, "B"), quantity(1234, "B")) == ("12 B", "1.23 kB")


def test_percentages() -> None:
    assert (percent(0.91734), percent(1.0, 0), percent(None)) == ("91.73 %", "100 %", "–")


def test_weights_read() -> None:
    loaded = results()
    by_label = {row.label: row for row in loaded.rows}
    count = 9216
    assert weight_bytes(loaded, by_label["8 bits"]) == 14 * count
    assert weight_bytes(loaded, by_label["2 bits"]) == 2 * count + 12 * count / 4
    assert weight_bytes(loaded, by_label["2 bits"].model_copy(update={"widths": {}})) is None


def test_markdown_lists_every_row_and_layer() -> None:
    text = markdown(results())
    assert text.count("\n| ") == 2 + 11 + 2 + 14 + 2 + 12
    assert "| **cascade 2, 8** | – | 97.45 % | – | 390 M | 15.0 % | 50.0 kB |" in text
    assert "| layer1.0.conv1 | 2.40 M | 9.22 k |" in text


# served beside defined


def compared(equal: int, **changes: Any) -> dict[str, Any]:
    served = {"served": {"samples": 64, "equal": equal}}
    rows = [uniform(8) | {"served": {"samples": 64, "equal": 64}}, uniform(4) | served]
    return plain(rows=rows, engine="native", **changes)


def test_equal_integers_are_said() -> None:
    found = Results.model_validate(compared(64))
    said = "served = defined on 64 of 64 samples in every row: the engine gave the integers of the interpreter."
    assert verdict(found) == said
    text = page(found)
    assert said in read(text).text
    assert "class='differs'" not in text
    assert said in markdown(found)
    assert "| 64 of 64 |" in markdown(found)


def test_other_integers_are_red() -> None:
    found = Results.model_validate(compared(62))
    said = verdict(found)
    assert said.startswith("The engine's integers are not the defined ones (4 bits: equal on 62 of 64 samples).")
    assert "--engine interpret" in said
    text = page(found)
    assert f"<p class='differs'>{escape(said)}</p>" in text
    assert text.count("<td class='differs' data-v='62'>62 of 64</td>") == 1
    assert text.count("<td data-v='64'>64 of 64</td>") == 1
    assert ".differs { color: var(--alarm);" in text
    assert text.count("--alarm: #") == 2  # by light and by dark
    assert "| **62 of 64** |" in markdown(found)
    assert f"**{said}**" in markdown(found)


def test_what_was_not_compared_is_said_or_left_out() -> None:
    old = results()
    assert verdict(old) == ""
    assert SERVED not in read(page(old)).text
    assert SERVED not in markdown(old)
    assert verdict(results(engine="interpret")) == "Run by the interpreter itself, which defines the integers."
    assert "not compared" in verdict(results(engine="native"))
    some = compared(64)
    some["rows"].append(uniform(2))
    assert "on 64 of 64 samples in every row but 2 bits" in verdict(Results.model_validate(some))


def mixed(one: str, other: str, part: float) -> list[float]:
    """Linear red, green, blue of ``color-mix(in oklab, one part, other)``."""
    to_lms = np.array([[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566],
                       [0.0883024619, 0.2817188376, 0.6299787005]])  # fmt: skip
    first, second = (np.cbrt(to_lms @ linear(colour)) for colour in (one, other))  # oklab is linear in the roots
    return list(np.linalg.solve(to_lms, (part * first + (1 - part) * second) ** 3).clip(0, 1))


def linear(colour: str) -> Any:
    values = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


@pytest.mark.parametrize("theme", [0, 1])
@pytest.mark.parametrize("width", [1, 2, 3, 4, 4.4, 4.6, 5, 6, 7, 8])
def test_widths_can_be_read_on_their_shades(theme: int, width: float) -> None:
    text = page(results())
    colours = {name: re.findall(rf"--{name}: (#\w+);", text)[theme] for name in ("ink", "on-deep", "deep", "pale")}
    shaded = shade(width, 8)
    part = float(re.findall(r"--w:([\d.]+)", shaded)[0])
    ground = mixed(colours["deep"], colours["pale"], part)
    ink = linear(colours["on-deep" if "high" in shaded else "ink"])
    light = sorted(float(np.dot([0.2126, 0.7152, 0.0722], each)) + 0.05 for each in (ground, ink))
    assert light[1] / light[0] >= 4.5


def test_columns_that_say_nothing_are_left_out() -> None:
    rows = [uniform(8) | {"accuracy_trained": None, "agreement": None}, other("auto", "auto", 3.4, 0.97)]
    heads = [row_head(results())[i] for i in columns(results(rows=rows))]
    assert row_head(results())[TRAINED] not in heads
    assert row_head(results())[AGREEMENT] not in heads
    assert row_head(results())[TRAINED] in [row_head(results())[i] for i in columns(results())]


def test_layers_that_share_every_choice_share_a_bar() -> None:
    same = {name: {"2": 30, "8": 70} for name in NAMES[1:-1]}
    text = page(results(auto={"histogram": same, "samples": []}))
    assert f"all {len(same)} layers" in text
    assert f"all {len(same)} layers" not in page(results())


def test_cards_and_table_count_the_same_layers() -> None:
    widths = [8] + [2] * (len(NAMES) - 2) + [8]
    same = {name: {"2": 1} for name in NAMES[1:-1]}
    assert "mean 2.0 bits" in page(results(auto={"histogram": same, "samples": [sample(0) | {"widths": widths}]}))


def test_the_legend_stands_above_the_axes() -> None:
    text = page(results())
    assert text.index("class='legend'") < text.index("<svg class='chart")
    figure = _figure(BITOPS, results())
    figure.draw_without_rendering()
    (legend,) = figure.legends
    box = legend.get_window_extent()
    assert not box.overlaps(figure.axes[0].get_window_extent())
    assert box.x1 <= figure.bbox.x1


def test_layers_that_run_alike_in_every_sample_are_one_row_of_the_map() -> None:
    same = {name: {"2": 1, "8": 1} for name in NAMES[1:-1]}
    alike = {"histogram": same, "samples": [], "by_sample": ["8" + "2" * 12 + "8", "8" * 14]}
    text = page(results(auto=alike))
    assert text.count("class='strip-of'") == 1
    assert "data-widths='28'" in text
    assert page(results()).count("class='strip-of'") == 12


def test_inputs_are_grouped_by_the_width_that_they_got() -> None:
    same = {name: {"2": 1} for name in NAMES[1:-1]}
    samples = [sample(i) | {"widths": [8, *[width] * 12, 8]} for i, width in ((0, 2), (1, 2), (8, 4))]
    text = read(page(results(auto={"histogram": same, "samples": samples}))).text
    assert "Inputs by chosen width" in text
    assert "2 bits" in text
    assert "Inputs by chosen width" not in page(results(auto={"histogram": same, "samples": samples[:2]}))


# two runs


def test_two_runs_are_compared_by_label() -> None:
    first, second = results(), results(name="After", rows=[uniform(8) | {"accuracy_integer": 0.981}, uniform(4)])
    assert [(pair.label, pair.second is None) for pair in pairs(first, second)][:2] == [
        ("8 bits", False),
        ("7 bits", True),
    ]
    reader = read(page(first, second))
    assert "+0.50 points" in reader.text
    assert "1.00x" in reader.text
    assert "Of 2 runs that both have, After is better than Digits in top-1 in 1, and worse in 0." in reader.text
    assert reader.count["h2"] == 5
    text = page(first, second)
    assert "class='point uniform run-1'" in text
    assert text.count("class='heat'") == 1  # both have the same layers


def test_runs_of_different_metrics_are_not_compared() -> None:
    rmse = {"metric": {"name": "RMSE", "higher": False}, "auto": None}
    row = {"accuracy_integer": None, "accuracy_trained": None, "metric_integer": 0.25}
    with pytest.raises(ResultsError, match="Digits is judged by top-1, Other by RMSE: compare runs of one metric"):
        page(results(), results(name="Other", rows=[uniform(8) | row], **rmse))
