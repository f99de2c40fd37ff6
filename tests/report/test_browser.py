"""The page in a real browser: nothing fails, nothing is fetched, clicks act, and what is shown is the JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from dqt.report import load_results, save_results, write_page
from dqt.report.results import Results
from dqt.report.tables import columns, row_cells, row_head, row_values, score
from tests.native.build import needs
from tests.report.browser import PHONE, SCREEN, Browser, browser
from tests.report.build import plain, results, times

pytestmark = [needs("chromium", "chromedriver"), pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as found:
        yield found
        assert found.errors() == []


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder and its page."""
    folder = tmp_path_factory.mktemp("run")
    save_results(Results.model_validate(times() | {"engine": "native"}), folder)
    write_page(load_results(folder), folder / "report.html")
    write_page(load_results(folder), folder / "compare.html", results(name="Before"))
    return folder


@pytest.mark.parametrize(("size", "scheme"), list(product((PHONE, SCREEN), ("light", "dark"))), ids=str)
@pytest.mark.parametrize("name", ["report", "compare"])
def test_it_opens_without_complaint_and_fits(
    chromium: Browser, recorded: Path, name: str, size: tuple[int, int], scheme: str
) -> None:
    chromium.open(recorded / f"{name}.html", size, scheme)
    assert chromium.errors() == []
    assert chromium.run("return document.documentElement.scrollWidth") <= size[0]
    assert chromium.run("return performance.getEntriesByType('resource').length") == 0
    charts = chromium.run(
        "return [...document.querySelectorAll('svg.chart')].filter(e => e.checkVisibility()).map(e => e.classList[1])"
    )
    assert charts == ["narrow" if size == PHONE else "wide"]
    light = chromium.run("return getComputedStyle(document.body).backgroundColor") == "rgb(254, 254, 253)"
    assert light == (scheme == "light")


def test_a_phone_shows_each_run_with_its_accuracy(chromium: Browser, recorded: Path) -> None:
    chromium.open(recorded / "report.html", PHONE)
    heads = chromium.texts(".runs thead th")
    place = heads.index("accuracy integer") + 1
    right = chromium.run(
        "return Math.max(...[...document.querySelectorAll(`.runs tbody tr > :nth-child(${arguments[0]})`)]"
        ".map(e => e.getBoundingClientRect().right))",
        place,
    )
    assert right <= PHONE[0]


def test_the_page_is_light(recorded: Path) -> None:
    assert (recorded / "report.html").stat().st_size < 200_000


def test_it_shows_the_numbers_of_the_json(chromium: Browser, recorded: Path) -> None:
    chromium.open(recorded / "report.html")
    known = json.loads((recorded / "results.json").read_text())
    held = load_results(recorded)
    kept = columns(held)
    heads = [row_head(held)[i] for i in kept]
    assert chromium.texts(".runs thead th") == heads
    shown = chromium.run(
        "return [...document.querySelectorAll('.runs tbody tr')].map(row => [...row.cells].map(c => "
        "[c.textContent, c.dataset.v === undefined ? null : Number(c.dataset.v)]))"
    )
    for row, cells, record in zip(held.rows, shown, known["rows"], strict=True):
        texts, values = row_cells(held, row), row_values(held, row)
        assert [text for text, _ in cells] == [texts[i] for i in kept]
        wanted = [values[i] for i in kept]
        assert [v for _, v in cells] == [None if v is None else pytest.approx(v, rel=1e-9) for v in wanted]
        by_head = {head: value for head, (_, value) in zip(heads, cells, strict=True)}
        assert by_head["accuracy integer"] == pytest.approx(record["accuracy_integer"], rel=1e-9)
        assert by_head["BitOPs"] == pytest.approx(record["bitops"], rel=1e-9)
        assert by_head["time"] == (pytest.approx(record["time"]["ms"]) if "time" in record else None)
    layers = chromium.run(
        "return [...document.querySelectorAll('.layers tbody tr')].map(r => [r.cells[0].textContent, "
        "Number(r.cells[2].dataset.v), Number(r.cells[r.cells.length - 1].dataset.v)])"
    )
    assert layers == [[e["name"], e["macs"], e["accumulator_bits"]] for e in known["layers"]]


@pytest.mark.parametrize("size", [PHONE, SCREEN], ids=str)
def test_every_point_says_its_numbers(chromium: Browser, recorded: Path, size: tuple[int, int]) -> None:
    chromium.open(recorded / "report.html", size)
    held = load_results(recorded)
    kind = "narrow" if size == PHONE else "wide"
    for i, row in enumerate(held.rows):
        chromium.hover(f".by-bitops svg.{kind} [data-row='0-{i}']")
        (said,) = chromium.texts("#tip:not([hidden])")
        assert said.splitlines()[:2] == [row.label, f"top-1: {score(held, row.score)}"]
        assert chromium.texts("tr.hot th") == [row.label]
        box = chromium.run("const b = document.getElementById('tip').getBoundingClientRect(); return [b.left, b.right]")
        assert 0 <= box[0] < box[1] <= size[0]
    chromium.hover("h1")
    assert chromium.texts("#tip:not([hidden])") == []


def test_the_map_says_layer_sample_and_width(chromium: Browser, recorded: Path) -> None:
    chromium.open(recorded / "report.html")
    known = json.loads((recorded / "results.json").read_text())
    names = [layer["name"] for layer in known["layers"]]
    chromium.hover(".strip-of")
    layer, said = chromium.texts("#tip")[0].splitlines()
    sample = int(said.split()[1])
    assert said == f"sample {sample} of 40: {known['auto']['by_sample'][sample - 1][names.index(layer)]} bits"
    assert sample in (20, 21)  # the middle


@pytest.mark.parametrize("column", ["BitOPs", "accuracy integer", "time", "run"])
def test_a_click_on_a_head_sorts(chromium: Browser, recorded: Path, column: str) -> None:
    chromium.open(recorded / "report.html")
    held = load_results(recorded)
    at = row_head(held).index(column)
    place = chromium.texts(".runs thead th").index(column) + 1
    values: list[tuple[Any, str]] = [(row_values(held, row)[at], row.label) for row in held.rows]
    known = [(value, label) for value, label in values if value is not None]
    expected = [label for _, label in sorted(known, key=lambda pair: -pair[0])]
    expected += [label for value, label in values if value is None]  # what is not known stays last
    if column == "run":
        expected = sorted(label for _, label in values)
    for turn in ("first", "second"):
        chromium.click(f".runs thead th:nth-child({place}) button")
        falling = (column != "run") == (turn == "first")
        state = chromium.run("return document.querySelector('.runs [aria-sort]').getAttribute('aria-sort')")
        assert state == ("descending" if falling else "ascending")
        shown = chromium.texts(".runs tbody th")
        if turn == "first":
            assert shown == expected
        else:
            count = len(known) or len(values)
            assert shown[count:] == expected[count:]
            assert sorted(shown) == sorted(expected)
            assert shown[0] == expected[count - 1] or values[0][0] == values[1][0] or column == "accuracy integer"


def test_layers_sort_by_their_bits_and_back_by_their_place(chromium: Browser, recorded: Path) -> None:
    chromium.open(recorded / "report.html")
    known = load_results(recorded).layers
    chromium.click(".layers thead th:last-child button")
    bits = [int(text) for text in chromium.texts(".layers tbody td:nth-last-child(2)")]
    assert bits == sorted((layer.accumulator_bits for layer in known), reverse=True)
    for _ in range(2):
        chromium.click(".layers thead th:nth-child(2) button")
    assert chromium.texts(".layers tbody th") == [layer.name for layer in known]


def test_the_theme_is_chosen(chromium: Browser, recorded: Path) -> None:
    chromium.open(recorded / "report.html", SCREEN, "dark")
    colours = []
    for said in ("as the system", "light", "dark", "as the system"):
        assert chromium.texts("#theme") == [f"theme: {said}"]
        colours.append(chromium.run("return getComputedStyle(document.body).backgroundColor"))
        chromium.click("#theme")
    dark, light, chosen, again = colours
    assert dark == chosen == again != light
    ink = chromium.run("return getComputedStyle(document.querySelector('svg.chart text')).fill")
    assert ink == "rgb(27, 31, 36)"  # light once more: words of a chart follow the theme


def test_the_cost_is_chosen(chromium: Browser, recorded: Path) -> None:
    chromium.open(recorded / "report.html")
    for key in ("time", "bytes", "bitops"):
        chromium.click(f"label[for='axis-{key}']")
        seen = chromium.run(
            "return [...document.querySelectorAll('.axis')].filter(e => e.checkVisibility()).map(e => e.className)"
        )
        assert seen == [f"axis by-{key}"]


def test_names_that_are_markup_do_nothing(chromium: Browser, tmp_path: Path) -> None:
    nasty = plain(name="<img src=x onerror=alert(1)>", data="</script><script>alert(2)</script>")
    nasty["rows"][0]["label"] = "'\"><b onclick=alert(3)>\n"
    write_page(Results.model_validate(nasty), tmp_path / "report.html")
    chromium.open(tmp_path / "report.html")
    assert chromium.errors() == []
    assert chromium.texts("h1") == [nasty["name"]]
    assert chromium.run("return document.querySelectorAll('b, script').length") == 1


TEXTS = """
const channels = (colour) => (colour.match(/[\\d.]+/g) || []).map(Number);
const light = (c) => [0, 1, 2].reduce((sum, i) => {
  const v = c[i] / 255;
  return sum + [0.2126, 0.7152, 0.0722][i] * (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
}, 0);
const ground = (e) => {
  for (; e; e = e.parentElement) {
    const c = getComputedStyle(e).backgroundColor;
    if (!c.startsWith("rgb")) return null;  // shades of widths: another test computes them
    if (channels(c)[3] !== 0) return channels(c);
  }
};
const found = [];
for (const e of document.querySelectorAll("body *")) {
  const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
  if (!own || !e.checkVisibility() || e.tagName === "SCRIPT") continue;
  const style = getComputedStyle(e), below = ground(e);
  if (!below) continue;
  const ink = channels(e.namespaceURI.endsWith("svg") ? style.fill : style.color);
  const [low, high] = [light(ink), light(below)].sort((a, b) => a - b);
  if ((high + 0.05) / (low + 0.05) < 4.5) found.push(e.textContent.slice(0, 40) + " " + ink + " on " + below);
}
return found;
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_words_can_be_read(chromium: Browser, recorded: Path, scheme: str) -> None:
    chromium.open(recorded / "compare.html", SCREEN, scheme)
    assert chromium.run(TEXTS) == []
    chromium.open(recorded / "report.html", SCREEN, scheme)
    assert chromium.run(TEXTS) == []
