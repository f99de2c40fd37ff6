"""Scripts that measure programs named on the command line, ``NAME=FILE``, on CIFAR-10: the record keeps the others."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

import dqt
from bench.common import CIFAR10, parser
from dqt.program.program import Program
from dqt.train.data import DataSet, Splits, load

SHIPPED, HELD_OUT = "resnet20", 5000
"""The network that ships, which is measured where none is named; training images that are held out."""


def named_parser(doc: str | None) -> argparse.ArgumentParser:
    """The options of such a script."""
    options = parser(doc, data=True)
    options.add_argument("programs", nargs="*", metavar="NAME=FILE", default=[f"{SHIPPED}={dqt.example()}"])
    return options


def programs_of(arguments: argparse.Namespace) -> Iterator[tuple[str, Program]]:
    """Each name and its program."""
    for name, _, file in (each.partition("=") for each in arguments.programs):
        yield name, Program.load(file)


def images_of(arguments: argparse.Namespace) -> tuple[Splits, DataSet]:
    """The images, and those that are held out. Torch runs on one thread from here on."""
    torch.set_num_threads(1)
    splits = load(f"cifar10={arguments.data / CIFAR10}", valid=HELD_OUT)
    assert splits.valid is not None
    return splits, splits.valid


def results_in(path: Path) -> dict[str, Any]:
    """What a record holds by name; nothing where there is none yet."""
    found: dict[str, Any] = json.loads(path.read_text())["results"] if path.exists() else {}
    return found
