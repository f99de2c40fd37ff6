"""Inputs on the page: the easiest, the hardest, and examples of each width that a controller chose."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape

import numpy as np
from PIL import Image

from dqt.report.html import level, section
from dqt.report.records import Auto, Sample
from dqt.report.results import Results
from dqt.report.widths import chosen_layers

MOST = 8
"""Cards of a group."""
GROUPS = (("easy", "Easiest: the fewest BitOPs"), ("hard", "Hardest: the most BitOPs"))


def extremes(results: Results, auto: Auto) -> str:
    """The easiest and the hardest inputs."""
    groups = [
        _group(results, words, [sample for sample in auto.samples if sample.difficulty == difficulty])
        for difficulty, words in GROUPS
    ]
    note = "Under each input, the widths that its layers got, from the first to the last."
    return section("Easy and hard inputs", note, *groups) if any(groups) else ""


def by_width(results: Results, auto: Auto) -> str:
    """Inputs in groups of one mean width, rounded; nothing where there is only one group."""
    layers = chosen_layers(results, auto)
    groups: dict[int, list[Sample]] = {}
    for sample in sorted(auto.samples, key=lambda sample: sample.difficulty != "between"):
        if layers:
            groups.setdefault(round(_mean(layers, sample)), []).append(sample)
    if len(groups) < 2:
        return ""
    parts = [_group(results, f"{width} bits", groups[width][:MOST]) for width in sorted(groups)]
    note = "Inputs by the mean width, rounded, of the layers whose widths the controller chooses."
    return section("Inputs by chosen width", note, *parts)


def _group(results: Results, words: str, samples: Sequence[Sample]) -> str:
    if not samples:
        return ""
    cards = "".join(_card(results, sample) for sample in samples)
    return f"<h3>{escape(words)}</h3><div class='samples'>{cards}</div>"


def _mean(layers: Sequence[int], sample: Sample) -> float:
    return sum(sample.widths[i] for i in layers) / len(layers)


def _card(results: Results, sample: Sample) -> str:
    right = sample.label == sample.prediction
    verdict = "" if right else f" <span class='wrong'>read as {escape(sample.prediction)}</span>"
    bars = "".join(
        f"<i style='--w:{level(width, results.master)}' title='{escape(layer.name)}: {width} bits'></i>"
        for layer, width in zip(results.layers, sample.widths, strict=True)
    )
    layers = [] if results.auto is None else chosen_layers(results, results.auto)
    mean = _mean(layers or range(len(sample.widths)), sample)
    return (
        f"<div class='sample'><img alt='{escape(sample.label)}' src='{_data_uri(sample)}'>"
        f"<p>{escape(sample.label)}{verdict}<br>mean {mean:.1f} bits</p><div class='strip'>{bars}</div></div>"
    )


def _data_uri(sample: Sample) -> str:
    text = sample.image
    if not isinstance(text, str):
        buffer = io.BytesIO()
        Image.fromarray(np.array(text, dtype=np.uint8)).save(buffer, format="PNG", optimize=True)
        text = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f"data:image/png;base64,{text}"
