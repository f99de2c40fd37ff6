"""A fast dozen of the models in docs/models.md: what goes through and what does not is what the record says."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import pytest

from bench.common import RESULTS
from bench.models.__main__ import measured
from bench.models.apart import apart
from bench.pages.models import what

FAST = (
    "written/unet_transposed", "written/yolo", "written/two_inputs", "written/dict_output", "written/tcn",
    "written/pointnet", "written/lstm_cell", "written/tabular", "written/vit", "written/grid_sampler",
    "written/embedding_bag", "timm/test_resnet", "timm/test_convnext",
)  # fmt: skip
LIMIT = 240
"""Seconds of one model on a slow machine."""


def outcome(row: dict[str, Any]) -> tuple[str, set[str]]:
    return row["stage"], {what(each) for each in row.get("obstacles", ())}


@pytest.mark.parametrize("name", FAST)
def test_a_model_goes_as_far_as_the_record_says(name: str) -> None:
    recorded = json.loads((RESULTS / "models.json").read_text())["results"]
    assert outcome(measured(name, LIMIT)) == outcome(recorded[name]), f"run: python -m bench.models {name}"


def test_a_model_that_crashes_or_never_ends_is_a_row() -> None:
    assert apart(lambda: print("so far"), 60) == (["so far"], "the process ended with 0")
    assert apart(lambda: sys.exit(3), 60) == ([], "the process ended with 1")
    assert apart(lambda: time.sleep(60), 0.02) == ([], "took more than 0.02 s")  # of the clock: 0.6 s
    assert apart(_endless, 1) == ([], "took more than 1 s")


def _endless() -> None:
    while True:
        pass
